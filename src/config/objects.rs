//! `[objects]`

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretError, Section, resolve};
use crate::{
    domain::{Rotating, SecretRef},
    store::{self, ObjectStore, S3Credentials},
};

/// Where big bytes are: logs, evidence, checkpoints. Without `s3`, in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Objects {
    /// The folder. Default: `objects` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// An S3-compatible store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Section>,
}

/// An S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Section {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    #[serde(default = "default_region")]
    pub region: String,
    /// Base URL of the service; not set for AWS. `http:` only if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<url::Url>,
    /// Folder in the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Key id; without one, the machine's own identity is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<SecretRef>,
    /// Its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretRef>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl Section for Objects {
    const NAME: &'static str = "objects";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.folder.is_some() && self.s3.is_some() {
            return Err(("folder", "expected either folder or s3, not both".to_owned()));
        }
        let half = self
            .s3
            .as_ref()
            .is_some_and(|s3| s3.access_key_id.is_some() != s3.secret_access_key.is_some());
        if half {
            return Err((
                "s3",
                "expected both access_key_id and secret_access_key, or neither".to_owned(),
            ));
        }
        Ok(())
    }
}

impl Objects {
    /// Whether it names credentials of its own.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        let s3 = self.s3.as_ref();
        s3.is_some_and(|s3| s3.access_key_id.is_some() && s3.secret_access_key.is_some())
    }

    /// The credentials of the S3-compatible store, read now; none when it has none of its own.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn credentials(&self) -> Result<Option<S3Credentials>, SecretError> {
        let s3 = self.s3.as_ref();
        match s3.and_then(|s3| s3.access_key_id.as_ref().zip(s3.secret_access_key.as_ref())) {
            Some((id, secret)) => Ok(Some(S3Credentials {
                id: resolve(id)?,
                secret: resolve(secret)?,
            })),
            None => Ok(None),
        }
    }

    /// Opens the store with the credentials as they are now.
    ///
    /// # Errors
    /// A message when a secret cannot be read or the folder cannot be made.
    pub fn open(&self, data_dir: &Path) -> Result<ObjectStore, store::Error> {
        let unavailable = |error: SecretError| store::Error::Unavailable(format!("objects.s3: {error}"));
        let credentials = self.credentials().map_err(unavailable)?;
        self.open_with(data_dir, credentials.map(Rotating::new))
    }

    /// Opens the store with credentials that may be replaced while it is open.
    ///
    /// # Errors
    /// A message when the folder cannot be made.
    pub fn open_with(
        &self,
        data_dir: &Path,
        credentials: Option<Rotating<S3Credentials>>,
    ) -> Result<ObjectStore, store::Error> {
        let Some(s3) = &self.s3 else {
            let folder = self.folder.clone().unwrap_or_else(|| data_dir.join("objects"));
            return ObjectStore::folder(&folder);
        };
        ObjectStore::s3(&store::S3 {
            endpoint: s3
                .endpoint
                .as_ref()
                .map(|url| url.as_str().trim_end_matches('/').to_owned()),
            bucket: s3.bucket.clone(),
            region: s3.region.clone(),
            prefix: s3.prefix.clone(),
            credentials,
            allow_http: s3.endpoint.as_ref().is_some_and(|url| url.scheme() == "http"),
        })
    }
}
