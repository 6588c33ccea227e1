//! Checkpoints outside the database, write-once: `checkpoints/<generation>/<size>`, both padded with zeros so that names
//! sort as numbers do.

use super::{Error, SignedCheckpoint};
use crate::store::{self, ObjectStore};

/// Folder of the checkpoints.
const FOLDER: &str = "checkpoints";

/// Publishes a checkpoint. Publishing the same one again changes nothing.
pub(super) async fn put(objects: &ObjectStore, checkpoint: &SignedCheckpoint) -> Result<(), Error> {
    let path = path_of(checkpoint.generation, checkpoint.size);
    match objects.put_named_once(&path, checkpoint.note.as_bytes()).await {
        Ok(()) => Ok(()),
        Err(store::Error::Conflict { .. }) => Err(Error::Forked { path }),
        Err(error) => Err(Error::Objects(error)),
    }
}

/// A published checkpoint that a log of `size` leaves in `generation` does not reach. Whatever lies there counts, signed by
/// us or not: a stranger's file in the folder is a person's business, too.
pub(super) async fn ahead(
    objects: &ObjectStore,
    generation: i64,
    size: u64,
) -> Result<Option<String>, Error> {
    let last_known = path_of(generation, size);
    objects
        .first_named_after(FOLDER, &last_known)
        .await
        .map_err(Error::Objects)
}

/// Whether what was published at the latest checkpoint's size is that checkpoint; not published yet is fine.
pub(super) async fn agrees(objects: &ObjectStore, latest: &SignedCheckpoint) -> Result<(), Error> {
    let path = path_of(latest.generation, latest.size);
    match objects.get_named(&path).await {
        Ok(bytes) if bytes.as_ref() == latest.note.as_bytes() => Ok(()),
        Ok(_) => Err(Error::Forked { path }),
        Err(store::Error::NotFound) => Ok(()),
        Err(error) => Err(Error::Objects(error)),
    }
}

fn path_of(generation: i64, size: u64) -> String {
    format!("{FOLDER}/{generation:010}/{size:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_do() {
        assert!(path_of(1, 9) < path_of(1, 10));
        assert!(path_of(1, u64::MAX) < path_of(2, 0));
        assert!(path_of(9, 5) < path_of(10, 1));
    }
}
