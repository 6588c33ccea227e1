//! Content-addressed bytes in a folder or an S3-compatible store.
//!
//! In: bytes. Out: their [`Digest`], and the bytes again. Always holds: what is read has the digest that it is asked by.
//! An object lies at `sha256/ab/cdef…`; it is put before the row that names it, and never changed.

mod named;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use object_store::{
    CredentialProvider, ObjectStore as Backend, ObjectStoreExt, PutMode, PutOptions,
    aws::{AmazonS3Builder, AwsCredential},
    local::LocalFileSystem,
    path::Path as Key,
};
use secrecy::{ExposeSecret, SecretString};

use super::Error;
use crate::domain::{Digest, Rotating};

/// Where an S3-compatible store is, and the credentials for it. Without a key pair the ambient ones are used (instance
/// role, web identity).
#[derive(Debug, Clone)]
pub struct S3 {
    /// Base URL of the service; none for AWS.
    pub endpoint: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Folder in the bucket, without slashes at its ends.
    pub prefix: Option<String>,
    /// Key id and secret.
    pub credentials: Option<Rotating<S3Credentials>>,
    /// Allow `http:` (a test server beside us).
    pub allow_http: bool,
}

/// A key id and its secret.
#[derive(Debug, Clone)]
pub struct S3Credentials {
    /// The key's id.
    pub id: SecretString,
    /// Its secret.
    pub secret: SecretString,
}

/// Hands the present credentials to each request.
#[derive(Debug)]
struct Present(Rotating<S3Credentials>);

#[async_trait::async_trait]
impl CredentialProvider for Present {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let S3Credentials { id, secret } = &*self.0.get();
        Ok(Arc::new(AwsCredential {
            key_id: id.expose_secret().to_owned(),
            secret_key: secret.expose_secret().to_owned(),
            token: None,
        }))
    }
}

/// A store of objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    backend: Arc<dyn Backend>,
    prefix: Option<String>,
}

impl ObjectStore {
    /// In a folder, which is made when it is missing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the folder cannot be made.
    pub fn folder(path: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(unavailable)?;
        let backend = LocalFileSystem::new_with_prefix(path)
            .map_err(unavailable)?
            .with_fsync(true);
        Ok(Self {
            backend: Arc::new(backend),
            prefix: None,
        })
    }

    /// In a bucket.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the configuration makes no client.
    pub fn s3(config: &S3) -> Result<Self, Error> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_allow_http(config.allow_http);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(credentials) = &config.credentials {
            builder = builder.with_credentials(Arc::new(Present(credentials.clone())));
        }
        Ok(Self {
            backend: Arc::new(builder.build().map_err(unavailable)?),
            prefix: config.prefix.clone(),
        })
    }

    /// Stores the bytes and answers their address. Storing the same bytes again changes nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not take them.
    pub async fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of_content(bytes);
        let options = PutOptions::from(PutMode::Create);
        let payload = Bytes::copy_from_slice(bytes).into();
        match self.backend.put_opts(&self.key(&digest), payload, options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(digest),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The bytes at an address.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Corrupt`] when they are not what was put; [`Error::Unavailable`].
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, Error> {
        let answer = self.backend.get(&self.key(digest)).await;
        let bytes = match answer {
            Ok(object) => object.bytes().await.map_err(unavailable)?,
            Err(object_store::Error::NotFound { .. }) => return Err(Error::NotFound),
            Err(error) => return Err(unavailable(error)),
        };
        if Digest::of_content(&bytes) != *digest {
            return Err(Error::Corrupt(format!("object {}", digest.hex())));
        }
        Ok(bytes)
    }

    fn key(&self, digest: &Digest) -> Key {
        let hex = digest.hex();
        let (head, tail) = hex.split_at(2);
        let parts = self
            .prefix
            .iter()
            .map(String::as_str)
            .chain(["sha256", head, tail]);
        Key::from_iter(parts.flat_map(|part| part.split('/')))
    }
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("object store: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_is_got_back_and_putting_twice_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStore::folder(folder.path()).unwrap();
        let digest = store.put(b"evidence").await.unwrap();
        assert_eq!(store.put(b"evidence").await.unwrap(), digest);
        assert_eq!(store.get(&digest).await.unwrap().as_ref(), b"evidence");
    }

    #[tokio::test]
    async fn an_altered_object_is_corrupt_and_a_missing_one_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStore::folder(folder.path()).unwrap();
        let digest = store.put(b"evidence").await.unwrap();
        let hex = digest.hex();
        let file = folder.path().join("sha256").join(&hex[..2]).join(&hex[2..]);
        std::fs::write(file, b"evidenze").unwrap();
        assert!(matches!(store.get(&digest).await, Err(Error::Corrupt(_))));
        let missing = Digest::of_content(b"other");
        assert!(matches!(store.get(&missing).await, Err(Error::NotFound)));
    }

    #[tokio::test]
    async fn a_bucket_is_asked_with_the_credentials_of_the_moment() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let pair = |id: &str| S3Credentials {
            id: SecretString::from(id.to_owned()),
            secret: SecretString::from("s".to_owned()),
        };
        let credentials = Rotating::new(pair("FIRST"));
        let store = ObjectStore::s3(&S3 {
            endpoint: Some(endpoint),
            bucket: "evidence".to_owned(),
            region: "eu-1".to_owned(),
            prefix: None,
            credentials: Some(credentials.clone()),
            allow_http: true,
        })
        .unwrap();
        for id in ["FIRST", "SECOND"] {
            credentials.replace(pair(id));
            let serve = async {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 8192];
                let read = connection.read(&mut bytes).await.unwrap();
                let answer =
                    "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                connection.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&bytes[..read]).into_owned()
            };
            let (asked, put) = tokio::join!(serve, store.put(b"x"));
            put.unwrap();
            assert!(asked.contains(&format!("Credential={id}/")), "{asked}");
        }
    }
}
