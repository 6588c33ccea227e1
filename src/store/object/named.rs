//! Objects under names, write-once: for what others must be able to find without asking us (signed checkpoints).

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, path::Path as Key};

use super::{ObjectStore, unavailable};
use crate::store::Error;

impl ObjectStore {
    /// Stores `bytes` at `path` (parts joined by `/`). Storing the same bytes again changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] when other bytes are there: they stay. [`Error::Unavailable`] when the store does not take them.
    pub async fn put_named_once(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let options = PutOptions::from(PutMode::Create);
        let payload = Bytes::copy_from_slice(bytes).into();
        match self.backend.put_opts(&self.named(path), payload, options).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) if self.get_named(path).await? == bytes => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => Err(Error::Conflict {
                constraint: format!("object {path}"),
            }),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The bytes at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unavailable`].
    pub async fn get_named(&self, path: &str) -> Result<Bytes, Error> {
        match self.backend.get(&self.named(path)).await {
            Ok(object) => object.bytes().await.map_err(unavailable),
            Err(object_store::Error::NotFound { .. }) => Err(Error::NotFound),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Some object in `folder` whose path sorts after `path`; none when there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn first_named_after(&self, folder: &str, path: &str) -> Result<Option<String>, Error> {
        let (folder, after) = (self.named(folder), self.named(path));
        let mut found = self.backend.list_with_offset(Some(&folder), &after);
        match found.next().await {
            None => Ok(None),
            Some(Ok(object)) => Ok(Some(object.location.to_string())),
            Some(Err(error)) => Err(unavailable(error)),
        }
    }

    fn named(&self, path: &str) -> Key {
        Key::from_iter(
            self.prefix
                .iter()
                .flat_map(|prefix| prefix.split('/'))
                .chain(path.split('/')),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStore::folder(folder.path()).unwrap();
        store.put_named_once("a/1", b"one").await.unwrap();
        store.put_named_once("a/1", b"one").await.unwrap();
        assert!(matches!(
            store.put_named_once("a/1", b"two").await,
            Err(Error::Conflict { .. })
        ));
        assert_eq!(store.get_named("a/1").await.unwrap().as_ref(), b"one");
        assert!(matches!(store.get_named("a/2").await, Err(Error::NotFound)));
    }

    #[tokio::test]
    async fn what_sorts_after_a_name_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStore::folder(folder.path()).unwrap();
        assert_eq!(store.first_named_after("a", "a/1").await.unwrap(), None);
        store.put_named_once("a/1", b"one").await.unwrap();
        assert_eq!(store.first_named_after("a", "a/1").await.unwrap(), None);
        store.put_named_once("a/2", b"two").await.unwrap();
        assert_eq!(
            store.first_named_after("a", "a/1").await.unwrap().as_deref(),
            Some("a/2")
        );
    }
}
