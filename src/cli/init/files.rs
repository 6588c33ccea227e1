//! Writing files that others may hold open, and saying what was done.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::Context as _;

/// Writes `text` for anyone to read, unless the file is there: then it is somebody's, and stays.
pub(super) fn keep(path: &Path, text: &str, purpose: &str) -> anyhow::Result<()> {
    let opened = fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o644)
        .open(path);
    match opened {
        Ok(mut file) => {
            file.write_all(text.as_bytes())?;
            outln!("made {}: {purpose}", path.display());
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => outln!("kept {}", path.display()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    }
    Ok(())
}

/// Brings a derived file in line with what it is derived from. It is replaced whole, so that whoever reads it meanwhile
/// gets the old text or the new one.
pub(super) fn follow(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let context = || path.display().to_string();
    let before = match fs::read(path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(context),
    };
    if before.as_deref() == Some(bytes) {
        return Ok(());
    }
    let half = path.with_extension("half");
    fs::write(&half, bytes).with_context(context)?;
    fs::set_permissions(&half, fs::Permissions::from_mode(0o644)).with_context(context)?;
    fs::rename(&half, path).with_context(context)?;
    outln!(
        "{} {}",
        if before.is_some() { "updated" } else { "made" },
        path.display()
    );
    Ok(())
}

/// A folder of this mode, whatever the umask says, whether it was there or not.
pub(super) fn folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    let context = || format!("making {}", path.display());
    fs::create_dir_all(path).with_context(context)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(context)
}
