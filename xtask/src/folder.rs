//! Folders as a whole.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Copies a folder's bytes, not its permissions: the files of Go's module cache are read-only, and what is made of them is
/// built in and removed.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::write(&target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
