//! Keys, tokens and the kubeconfig of a test cluster. They are worth something for as long as it runs, on this
//! machine only; still, nobody else may read the files.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::report::capture;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The key that signs service account tokens.
pub fn make_key(path: &Path) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args([
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
    ]);
    capture(command.arg(path)).context("the `openssl` command makes the service account key")?;
    Ok(())
}

/// 128 random bits, in hexadecimal.
pub fn random_token() -> Result<String> {
    let mut bytes = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The CA in the file that the API server writes at its start: the last certificate of the chain.
pub fn ca(chain: &str) -> Result<String> {
    let begin = chain.rfind(BEGIN).context("no certificate yet")?;
    let length = chain[begin..].find(END).context("half a certificate")?;
    Ok(format!("{}{END}\n", &chain[begin..begin + length]))
}

/// An admin's kubeconfig that needs no other file.
pub fn kubeconfig(port: u16, ca: &str, token: &str) -> String {
    let ca = BASE64_STANDARD.encode(ca);
    format!(
        "\
apiVersion: v1
kind: Config
current-context: carapulse-test
clusters:
- name: carapulse-test
  cluster:
    server: https://127.0.0.1:{port}
    certificate-authority-data: {ca}
users:
- name: admin
  user:
    token: {token}
contexts:
- name: carapulse-test
  context:
    cluster: carapulse-test
    user: admin
    namespace: default
"
    )
}

/// Writes a new file that only its owner reads.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_is_the_last_certificate_and_half_a_file_is_none() {
        let chain = format!("{BEGIN}\nleaf\n{END}\n{BEGIN}\nroot\n{END}\n");
        assert_eq!(ca(&chain).expect("whole"), format!("{BEGIN}\nroot\n{END}\n"));
        assert!(ca(&chain[..chain.len() - 10]).is_err());
        assert!(ca("").is_err());
    }

    #[test]
    fn the_kubeconfig_carries_the_ca_and_the_token() {
        let text = kubeconfig(6443, "pem", "secret");
        assert!(text.contains("server: https://127.0.0.1:6443\n"), "{text}");
        assert!(text.contains("certificate-authority-data: cGVt\n"), "{text}");
        assert!(text.contains("token: secret\n"), "{text}");
    }

    #[test]
    fn tokens_differ_and_private_files_are_private() {
        assert_ne!(random_token().expect("random"), random_token().expect("random"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kubeconfig");
        write_private(&path, "x").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(write_private(&path, "y").is_err(), "never over another file");
    }
}
