//! The images that the Dockerfile stands on: a registry's, or stand-ins with the same names.
//!
//! A stand-in is made where no registry can be reached: the Debian base by debootstrap, with this machine's root
//! certificates; the builder from it, with Debian's C compiler and this machine's Rust. It is labelled as one, kept, and
//! named whenever it is used. What is built on stand-ins is for tests; it is never to be published.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::dockerfile::Dockerfile;
use super::engine::{Engine, quiet};
use crate::report::{capture, run, say, step};
use crate::{tools, workspace};

const LABEL: &str = "io.carapulse.stand-in";

/// The builder's stand-in; its build context is the folder of a Rust toolchain.
const BUILDER: &str = include_str!("stand-in-rust.Dockerfile");

/// The file of root certificates, where Debian keeps it.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Build arguments that name the bases; with podman the bases are then there. `packages_only`: ask no registry.
pub fn ensure(engine: &Engine, file: &Dockerfile, packages_only: bool) -> Result<Vec<(String, String)>> {
    let mut arguments = Vec::new();
    if !engine.is_podman() {
        return Ok(arguments);
    }
    for name in ["DEBIAN_IMAGE", "RUST_IMAGE"] {
        let reference = file.argument(name).context("the Dockerfile names its bases")?;
        // A stand-in has another digest than the registry's image: it can only have the tag.
        let tagged = reference.split('@').next().unwrap_or(reference);
        if engine.has_image(tagged) {
            say(&format!("{tagged}: {}", nature(engine, tagged)));
            arguments.push((name.to_owned(), tagged.to_owned()));
            continue;
        }
        if !packages_only && quiet(&mut engine.command(&["pull", "--quiet", reference])) {
            continue;
        }
        say(&format!("{tagged}: no registry gives it; making a stand-in"));
        step(&format!("stand-in for {tagged}"), || match name {
            "DEBIAN_IMAGE" => debian(engine, tagged),
            _ => rust(engine, file, tagged),
        })?;
        arguments.push((name.to_owned(), tagged.to_owned()));
    }
    Ok(arguments)
}

/// Whether what is there came from a registry.
fn nature(engine: &Engine, image: &str) -> &'static str {
    let label = format!("{{{{index .Labels \"{LABEL}\"}}}}");
    match engine.image(image, &label) {
        Ok(value) if value == "true" => "a stand-in made on this machine",
        _ => "already there",
    }
}

fn debian(engine: &Engine, tagged: &str) -> Result<()> {
    let tag = tagged.rsplit_once(':').map_or("", |(_, tag)| tag);
    let suite = tag.split('-').next().unwrap_or_default();
    let root = tools::cache_root()?
        .join("images")
        .join(format!("rootfs-{suite}"));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    let made = bootstrap(suite, &root).and_then(|()| import(engine, &root, tagged));
    fs::remove_dir_all(&root)?;
    made
}

fn bootstrap(suite: &str, root: &Path) -> Result<()> {
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--include=ca-certificates", suite]);
    capture(command.arg(root).stdin(Stdio::null()))
        .context("a stand-in for the Debian base needs debootstrap, a Debian mirror, and root")?;
    let own = Path::new("/").join(CERTIFICATES);
    if own.is_file() {
        fs::copy(&own, root.join(CERTIFICATES))?;
    }
    for rest in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        fs::remove_dir_all(root.join(rest))?;
        fs::create_dir_all(root.join(rest).join("partial"))?;
    }
    Ok(())
}

fn import(engine: &Engine, root: &Path, tagged: &str) -> Result<()> {
    let mut pack = Command::new("tar");
    pack.args(["--numeric-owner", "--create", "--directory"])
        .arg(root);
    let mut pack = pack
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start tar")?;
    let packed = pack.stdout.take().context("its output is piped")?;
    let label = format!("LABEL {LABEL}=true");
    let mut import = engine.command(&["import", "--change", &label, "--change", "CMD bash", "-", tagged]);
    let imported = run(import.stdin(packed).stdout(Stdio::null()));
    if !pack.wait()?.success() {
        bail!("tar could not read all of {}", root.display());
    }
    imported
}

fn rust(engine: &Engine, file: &Dockerfile, tagged: &str) -> Result<()> {
    let base = file.argument("DEBIAN_IMAGE").unwrap_or_default();
    let base = base.split('@').next().unwrap_or(base);
    let rustc = |arguments: &[&str]| {
        let mut command = Command::new("rustc");
        capture(command.current_dir(workspace::root()).args(arguments)).map(|text| text.trim().to_owned())
    };
    let (version, folder) = (rustc(&["--version"])?, rustc(&["--print", "sysroot"])?);
    let wanted = tagged.rsplit_once(':').and_then(|(_, tag)| tag.split('-').next());
    if wanted != version.split_whitespace().nth(1) {
        bail!("this machine has {version}, and the builder is {tagged}");
    }
    let scratch = tools::cache_root()?.join("images");
    let recipe: PathBuf = scratch.join("stand-in-rust.Dockerfile");
    let ignored: PathBuf = scratch.join("stand-in-rust.ignore");
    fs::write(&recipe, BUILDER)?;
    fs::write(&ignored, "share/doc\nlib/rustlib/src\n")?;
    let mut command = engine.builder();
    command
        .arg("--file")
        .arg(&recipe)
        .arg("--ignorefile")
        .arg(&ignored);
    command.args(["--build-arg", &format!("DEBIAN_IMAGE={base}"), "--tag", tagged]);
    run(command.arg(folder).stdout(Stdio::null()))
}
