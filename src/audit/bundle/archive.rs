//! Named bytes to a tar and back. Deterministic one way, suspicious the other.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
};

/// Most files.
pub const MAX_FILES: usize = 20_000;
/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// Largest sum of all files, in bytes.
pub const MAX_TOTAL_BYTES: u64 = 256 * 1024 * 1024;
/// What the name field of a tar header holds.
const MAX_NAME_BYTES: usize = 100;

/// Files by name, in the order of their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The bytes are no archive that we would have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// Not a tar, or cut short.
    #[error("not a readable tar: {0}")]
    Tar(String),
    /// Something else than a plain file.
    #[error("`{0}` is not a plain file")]
    Kind(String),
    /// A name that could lead anywhere else.
    #[error("`{0}` is not a valid name in a bundle")]
    Name(String),
    /// The same name twice.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// Beyond a limit.
    #[error("the bundle is too large: {0}")]
    Large(&'static str),
}

/// Writes a tar: names sorted, times and owners zero.
///
/// # Errors
/// [`ArchiveError`] for names and sizes that [`read`] would refuse.
pub fn write(files: &Files) -> Result<Vec<u8>, ArchiveError> {
    if files.len() > MAX_FILES {
        return Err(ArchiveError::Large("too many files"));
    }
    let mut builder = tar::Builder::new(Vec::new());
    let mut total = 0;
    for (name, bytes) in files {
        check_name(name)?;
        let size = add_size(&mut total, bytes.len())?;
        let mut header = tar::Header::new_ustar();
        header.set_path(name).map_err(tar_error)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        builder.append(&header, bytes.as_slice()).map_err(tar_error)?;
    }
    builder.into_inner().map_err(tar_error)
}

/// Reads a tar of plain files.
///
/// # Errors
/// [`ArchiveError`]: links, folders, long-name extensions, odd names, duplicates and anything beyond the limits are refused.
pub fn read(bytes: &[u8]) -> Result<Files, ArchiveError> {
    let mut files = Files::new();
    let mut total = 0;
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    for entry in archive.entries().map_err(tar_error)?.raw(true) {
        let mut entry = entry.map_err(tar_error)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(ArchiveError::Kind(name));
        }
        check_name(&name)?;
        let size = entry.size();
        let len = usize::try_from(size).map_err(|_| ArchiveError::Large("a file"))?;
        add_size(&mut total, len)?;
        // A header may promise more than there is: allocate for what is there.
        let mut content = Vec::with_capacity(len.min(bytes.len()));
        entry.read_to_end(&mut content).map_err(tar_error)?;
        if content.len() != len {
            return Err(ArchiveError::Tar("a file is cut short".to_owned()));
        }
        if files.len() == MAX_FILES {
            return Err(ArchiveError::Large("too many files"));
        }
        if files.insert(name.clone(), content).is_some() {
            return Err(ArchiveError::Twice(name));
        }
    }
    Ok(files)
}

/// `part/part`, each of `a-z A-Z 0-9 . _ -` and not starting with a dot.
fn check_name(name: &str) -> Result<(), ArchiveError> {
    let good = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if name.len() <= MAX_NAME_BYTES && name.split('/').all(good) {
        Ok(())
    } else {
        Err(ArchiveError::Name(name.to_owned()))
    }
}

fn add_size(total: &mut u64, len: usize) -> Result<u64, ArchiveError> {
    let size = u64::try_from(len).map_err(|_| ArchiveError::Large("a file"))?;
    if size > MAX_FILE_BYTES {
        return Err(ArchiveError::Large("a file"));
    }
    *total += size;
    if *total > MAX_TOTAL_BYTES {
        return Err(ArchiveError::Large("all files together"));
    }
    Ok(size)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn tar_error(error: std::io::Error) -> ArchiveError {
    ArchiveError::Tar(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files() -> Files {
        Files::from([
            ("b/two.json".to_owned(), b"{}".to_vec()),
            ("a.txt".to_owned(), vec![7; 1000]),
        ])
    }

    #[test]
    fn the_same_files_make_the_same_bytes_and_read_back() {
        let bytes = write(&files()).unwrap();
        assert_eq!(bytes, write(&files()).unwrap());
        assert_eq!(read(&bytes).unwrap(), files());
        assert_eq!(&bytes[..5], b"a.txt", "sorted");
    }

    #[test]
    fn path_tricks_links_and_duplicates_are_refused() {
        for name in [
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "",
            "a/",
            ".x",
            "a b",
            "a\\b",
            "é",
        ] {
            assert!(
                write(&Files::from([(name.to_owned(), Vec::new())])).is_err(),
                "{name:?}"
            );
        }
        let entry = |kind: tar::EntryType, name: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_cksum();
            header
        };
        let tar_of = |headers: &[tar::Header]| {
            let mut builder = tar::Builder::new(Vec::new());
            for header in headers {
                builder.append(header, &b""[..]).unwrap();
            }
            builder.into_inner().unwrap()
        };
        use tar::EntryType as Kind;
        for kind in [
            Kind::Symlink,
            Kind::Link,
            Kind::Directory,
            Kind::Fifo,
            Kind::XHeader,
            Kind::GNULongName,
        ] {
            let refused = read(&tar_of(&[entry(kind, b"x")]));
            assert!(
                matches!(refused, Err(ArchiveError::Kind(_))),
                "{kind:?}: {refused:?}"
            );
        }
        let up = read(&tar_of(&[entry(Kind::Regular, b"../x")]));
        assert_eq!(up, Err(ArchiveError::Name("../x".to_owned())));
        let twice = read(&tar_of(&[entry(Kind::Regular, b"x"), entry(Kind::Regular, b"x")]));
        assert_eq!(twice, Err(ArchiveError::Twice("x".to_owned())));
    }

    #[test]
    fn a_header_that_promises_more_than_there_is_is_refused_without_allocating() {
        let mut bytes = write(&files()).unwrap();
        bytes.truncate(700);
        assert!(read(&bytes).is_err());
        let mut header = tar::Header::new_ustar();
        header.set_path("x").unwrap();
        header.set_size(u64::MAX / 2);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        assert!(read(header.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&bytes);
        }
    }
}
