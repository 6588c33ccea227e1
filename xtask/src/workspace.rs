//! Where the repository is, and `cargo` run in it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root: the folder above this package's.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// A path inside the repository.
pub fn path(inside: &str) -> PathBuf {
    root().join(inside)
}

/// The same `cargo` that started this, in the root. Queries are checked against `.sqlx`, not against a database,
/// unless the caller says otherwise.
pub fn cargo(arguments: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .args(arguments)
        .env("SQLX_OFFLINE", "true");
    command
}
