//! `docker/tools/install.sh` against vendors that are folders: a `curl` of our own copies from them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::command_lines::{Row, rows};
use crate::report::both_streams;
use crate::workspace;

/// Copies the URL's last part from `$VENDOR`; an address that is not there is a vendor that cannot be reached.
const CURL: &str = "#!/bin/sh\nfor word; do last=$word; done\nwhile [ \"$1\" != --output ]; do shift; done\n\
    exec cp \"$VENDOR/$(basename \"$last\")\" \"$2\"\n";

/// The versions that the script is told, and that the fake programs say.
const VERSIONS: &[(&str, &str)] = &[
    ("KUBECTL_VERSION", "v1.2.3"),
    ("HELM_VERSION", "v1.2.3"),
    ("ARGOCD_VERSION", "v1.2.3"),
    ("VAULT_VERSION", "1.2.3"),
    ("BOUNDARY_VERSION", "1.2.3"),
    ("GH_VERSION", "1.2.3"),
    ("GLAB_VERSION", "1.2.3"),
    ("AWSCLI_VERSION", "1.2.3"),
];

#[test]
fn what_the_vendors_published_is_installed_and_what_is_local_is_taken_instead() {
    let place = Place::new();
    place.publish();
    let output = place.install("report", "vendor");
    assert!(output.status.success(), "{}", both_streams(&output));
    let found: Vec<(String, String)> = place
        .rows()
        .into_iter()
        .map(|row| (row.name.clone(), row.text()))
        .collect();
    let expected = [
        ("kubectl", "1.2.3 (vendor)"),
        ("helm", "1.2.3 (vendor)"),
        ("argocd", "1.2.3 (vendor)"),
        ("vault", "1.2.3 (local)"),
        ("boundary", "1.2.3 (local)"),
        ("gh", "1.2.3 (vendor)"),
        ("glab", "MISSING: its vendor cannot be reached"),
        ("aws", "1.2.3 (local)"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(found, expected);
    assert!(!place.dest().join("bin/glab").exists());
}

#[test]
fn a_download_with_another_sum_fails_the_build_even_where_missing_ones_are_only_reported() {
    let place = Place::new();
    place.publish();
    fs::write(
        place.vendor().join("kubectl"),
        "#!/bin/sh\necho v1.2.3 # tampered\n",
    )
    .expect("written");
    let output = place.install("report", "vendor");
    assert!(!output.status.success());
    assert!(both_streams(&output).contains("kubectl is not what its vendor published"));
}

#[test]
fn a_download_without_a_sum_fails_the_build() {
    let place = Place::new();
    place.publish();
    fs::write(
        place.vendor().join("cli_checksums.txt"),
        "00ff  argocd-linux-s390x\n",
    )
    .expect("written");
    let output = place.install("report", "vendor");
    assert!(!output.status.success());
    assert!(both_streams(&output).contains("has no sum for argocd-linux-amd64"));
}

#[test]
fn a_missing_command_line_fails_the_build_unless_it_is_told_to_report() {
    let place = Place::new();
    place.publish();
    let output = place.install("fail", "vendor");
    assert!(!output.status.success());
    assert!(both_streams(&output).contains("missing: glab"));
}

#[test]
fn from_the_local_folder_only_nothing_is_downloaded() {
    let place = Place::new();
    place.publish();
    let output = place.install("report", "local");
    assert!(output.status.success(), "{}", both_streams(&output));
    let there = place.rows().into_iter().filter(|row| row.version.is_some());
    let there: Vec<String> = there.map(|row| row.name).collect();
    assert_eq!(there, ["vault", "boundary", "aws"]);
}

/// A copy of the script with its local folder, the vendors' folder, and where it installs.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        let script = workspace::path("docker/tools/install.sh");
        for folder in ["tools/local/amd64", "vendor", "path"] {
            fs::create_dir_all(place.0.path().join(folder)).expect("made");
        }
        fs::copy(script, place.0.path().join("tools/install.sh")).expect("copied");
        program(&place.0.path().join("path/curl"), CURL);
        place
    }

    fn vendor(&self) -> std::path::PathBuf {
        self.0.path().join("vendor")
    }

    fn dest(&self) -> std::path::PathBuf {
        self.0.path().join("installed")
    }

    /// Three programs in the local folder; four at their vendors, each with the sums as that vendor names them.
    fn publish(&self) {
        let says = "#!/bin/sh\necho this is v1.2.3\n";
        for name in ["vault", "boundary", "aws"] {
            program(&self.0.path().join("tools/local/amd64").join(name), says);
        }
        let vendor = self.vendor();
        program(&vendor.join("kubectl"), says);
        program(&vendor.join("argocd-linux-amd64"), says);
        for (name, folder) in [("helm", "linux-amd64"), ("gh", "gh_1.2.3_linux_amd64/bin")] {
            fs::create_dir_all(vendor.join(folder)).expect("made");
            program(&vendor.join(folder).join(name), says);
        }
        let publish = "tar -czf helm-v1.2.3-linux-amd64.tar.gz linux-amd64\n\
            tar -czf gh_1.2.3_linux_amd64.tar.gz gh_1.2.3_linux_amd64\n\
            sha256sum kubectl | cut -d ' ' -f 1 > kubectl.sha256\n\
            sha256sum helm-v1.2.3-linux-amd64.tar.gz > helm-v1.2.3-linux-amd64.tar.gz.sha256sum\n\
            sha256sum argocd-linux-amd64 > cli_checksums.txt\n\
            sha256sum gh_1.2.3_linux_amd64.tar.gz > gh_1.2.3_checksums.txt\n";
        let done = Command::new("sh")
            .args(["-ec", publish])
            .current_dir(&vendor)
            .status();
        assert!(done.expect("sh runs").success());
    }

    fn install(&self, missing: &str, from: &str) -> Output {
        let path = std::env::var_os("PATH").expect("there is a PATH");
        let mut command = Command::new("sh");
        command
            .arg(self.0.path().join("tools/install.sh"))
            .envs(VERSIONS.iter().copied());
        command.env(
            "PATH",
            format!("{}:{}", self.0.path().join("path").display(), path.display()),
        );
        command
            .env("VENDOR", self.vendor())
            .env("TOOLS_DEST", self.dest());
        command
            .env("TARGETARCH", "amd64")
            .env("TOOLS_MISSING", missing)
            .env("TOOLS_FROM", from);
        command.stdin(Stdio::null()).output().expect("sh runs")
    }

    fn rows(&self) -> Vec<Row> {
        rows(&fs::read_to_string(self.dest().join("manifest.txt")).expect("written")).expect("well formed")
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}
