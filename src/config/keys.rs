//! Keys: 32 bytes as standard base64, in files or variables; and the folder in which they are made.
//!
//! Made once, never overwritten: a lost approval key voids every approval, a lost checkpoint key the trust in the log.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::agreement;
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{SigningKey, VerifyingKey};
use secrecy::{ExposeSecret, SecretString};

use super::{SecretError, resolve};
use crate::domain::SecretRef;

/// A key cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not where it should be.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It is something else. The text is not repeated.
    #[error("{0}: expected 32 bytes as base64")]
    Form(String),
    /// A file.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Reads a signing key (an Ed25519 seed).
///
/// # Errors
/// [`KeyError`].
pub fn signing_key(reference: &SecretRef) -> Result<SigningKey, KeyError> {
    Ok(SigningKey::from_bytes(&decode_key(reference)?))
}

/// Reads public keys: one as base64, or a reference to where they lie, one a line. Several lie there while a key is rotated.
///
/// # Errors
/// [`KeyError`], also when there is none.
pub fn verifying_keys(text: &str) -> Result<Vec<VerifyingKey>, KeyError> {
    let Ok(reference) = text.parse::<SecretRef>() else {
        return Ok(vec![verifying_key(text)?]);
    };
    let secret = resolve(&reference)?;
    let lines = secret.expose_secret().lines().map(str::trim);
    let keys: Option<Vec<VerifyingKey>> = lines
        .filter(|line| !line.is_empty())
        .map(|line| VerifyingKey::from_bytes(&decode(line)?).ok())
        .collect();
    keys.filter(|keys| !keys.is_empty())
        .ok_or_else(|| KeyError::Form(String::from(reference)))
}

/// Reads a public key: base64 as it is, or a reference to where it lies.
///
/// # Errors
/// [`KeyError`].
pub fn verifying_key(text: &str) -> Result<VerifyingKey, KeyError> {
    let bytes = match text.parse() {
        Ok(reference) => decode_key(&reference)?,
        Err(_) => decode(text).ok_or_else(|| KeyError::Form("the public key".to_owned()))?,
    };
    VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Form("the public key".to_owned()))
}

/// Reads the 32 bytes of a public key: base64 as it is, or a reference to where it lies.
///
/// # Errors
/// [`KeyError`].
pub fn public_bytes(text: &str) -> Result<[u8; 32], KeyError> {
    match text.parse() {
        Ok(reference) => decode_key(&reference),
        Err(_) => decode(text).ok_or_else(|| KeyError::Form("the public key".to_owned())),
    }
}

/// Reads 32 bytes.
///
/// # Errors
/// [`KeyError`].
pub fn decode_key(reference: &SecretRef) -> Result<[u8; 32], KeyError> {
    let text = resolve(reference)?;
    decode(text.expose_secret()).ok_or_else(|| KeyError::Form(String::from(reference.clone())))
}

fn decode(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text.trim()).ok()?.try_into().ok()
}

/// A folder of secrets: 0700, each file 0600.
#[derive(Debug, Clone)]
pub struct Secrets {
    folder: PathBuf,
}

/// What one secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519,
    X25519,
    Password,
}

/// Every secret, and what it is for.
const ALL: &[(&str, Kind, &str)] = &[
    ("approval_key", Kind::Ed25519, "signs approvals (gateway)"),
    ("job_key", Kind::Ed25519, "signs jobs for a sandbox (tool-router)"),
    (
        "checkpoint_key",
        Kind::Ed25519,
        "signs checkpoints of the audit log (orchestrator)",
    ),
    (
        "sandbox_key",
        Kind::Ed25519,
        "signs the answers of a sandbox (sandbox)",
    ),
    ("sealing_key", Kind::X25519, "opens sealed credentials (sandbox)"),
    (
        "router_token",
        Kind::Password,
        "other roles show it to the tool-router",
    ),
    ("db_owner_password", Kind::Password, "carapulse_owner's login"),
    ("db_gateway_password", Kind::Password, "carapulse_gateway's login"),
    (
        "db_orchestrator_password",
        Kind::Password,
        "carapulse_orchestrator's login",
    ),
    ("db_router_password", Kind::Password, "carapulse_router's login"),
    (
        "db_sequencer_password",
        Kind::Password,
        "carapulse_sequencer's login",
    ),
];

impl Secrets {
    /// The secrets in `folder`, which need not exist yet.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A reference to one of them: `approval_key`, `approval_key.pub`, ….
    #[must_use]
    pub fn reference(&self, name: &str) -> SecretRef {
        SecretRef::File(self.folder.join(name))
    }

    /// Makes every secret that is missing. Answers the made ones, `(name, what for)`.
    ///
    /// # Errors
    /// [`KeyError`] when a file cannot be written, or one that is there holds something else.
    pub fn make_missing(&self) -> Result<Vec<(&'static str, &'static str)>, KeyError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|source| KeyError::Io {
                path: self.folder.display().to_string(),
                source,
            })?;
        let mut made = Vec::new();
        for &(name, kind, purpose) in ALL {
            if self.make(name, kind)? {
                made.push((name, purpose));
            }
        }
        Ok(made)
    }

    /// Keeps `text` under `name`, unless something is kept there already. Answers whether it was made.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn keep(&self, name: &str, text: &SecretString) -> Result<bool, KeyError> {
        self.write_new(name, text, 0o600)
    }

    /// A password nobody knows. It goes into addresses and command lines: letters and digits only, and not more of them
    /// than an S3 key may have.
    #[must_use]
    pub fn new_password() -> SecretString {
        SecretString::from(hex::encode(rand::random::<[u8; 20]>()))
    }

    fn make(&self, name: &str, kind: Kind) -> Result<bool, KeyError> {
        let text = match kind {
            Kind::Password => Self::new_password(),
            Kind::Ed25519 | Kind::X25519 => SecretString::from(STANDARD.encode(rand::random::<[u8; 32]>())),
        };
        let made = self.write_new(name, &text, 0o600)?;
        if kind == Kind::Password {
            return Ok(made);
        }
        // The public half follows from what lies there, also when only that half was lost.
        let private = decode_key(&self.reference(name))?;
        let public = match kind {
            Kind::X25519 => x25519_public(&private).ok_or_else(|| KeyError::Form(name.to_owned()))?,
            _ => SigningKey::from_bytes(&private).verifying_key().to_bytes(),
        };
        let text = SecretString::from(STANDARD.encode(public));
        self.write_new(&format!("{name}.pub"), &text, 0o644)?;
        Ok(made)
    }

    /// Writes beside and links into place, so that a half-written secret never has the name, and none is overwritten.
    fn write_new(&self, name: &str, text: &SecretString, mode: u32) -> Result<bool, KeyError> {
        let path = self.folder.join(name);
        let half = self.folder.join(format!(".{name}.{}", std::process::id()));
        let failed = |source| KeyError::Io {
            path: path.display().to_string(),
            source,
        };
        if path.exists() {
            return Ok(false);
        }
        let write = || -> std::io::Result<bool> {
            let mut file = fs::File::options()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(mode)
                .open(&half)?;
            writeln!(file, "{}", text.expose_secret())?;
            file.sync_all()?;
            match fs::hard_link(&half, &path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        };
        let result = write();
        let _ = fs::remove_file(&half);
        result.map_err(failed)
    }
}

fn x25519_public(private: &[u8; 32]) -> Option<[u8; 32]> {
    let key = agreement::PrivateKey::from_private_key(&agreement::X25519, private).ok()?;
    key.compute_public_key().ok()?.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_made_once_private_and_readable() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_folder(folder.path().join("secrets"));
        assert_eq!(secrets.make_missing().unwrap().len(), ALL.len());
        let key = signing_key(&secrets.reference("approval_key")).unwrap();
        let public = String::from(secrets.reference("approval_key.pub"));
        assert_eq!(verifying_key(&public).unwrap(), key.verifying_key());
        let file = secrets.folder().join("approval_key.pub");
        let (own, other) = (
            fs::read_to_string(&file).unwrap(),
            SigningKey::from_bytes(&[7; 32]),
        );
        let both = folder.path().join("both.pub");
        fs::write(
            &both,
            format!("{own}\n{}\n", STANDARD.encode(other.verifying_key())),
        )
        .unwrap();
        let found = verifying_keys(&format!("file:{}", both.display())).unwrap();
        assert_eq!(found, [key.verifying_key(), other.verifying_key()]);
        let mode = fs::metadata(secrets.folder().join("approval_key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        assert!(secrets.make_missing().unwrap().is_empty());
        assert_eq!(
            signing_key(&secrets.reference("approval_key"))
                .unwrap()
                .to_bytes(),
            key.to_bytes()
        );
        assert_eq!(
            fs::read_dir(secrets.folder()).unwrap().count(),
            ALL.len() + ALL.iter().filter(|(_, kind, _)| *kind != Kind::Password).count(),
            "nothing half-written is left"
        );
    }

    #[test]
    fn a_lost_public_half_is_made_again_and_a_broken_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_folder(folder.path());
        secrets.make_missing().unwrap();
        let public = folder.path().join("sealing_key.pub");
        let before = fs::read(&public).unwrap();
        fs::remove_file(&public).unwrap();
        secrets.make_missing().unwrap();
        assert_eq!(fs::read(&public).unwrap(), before);
        fs::write(folder.path().join("job_key"), "not a key").unwrap();
        let error = signing_key(&secrets.reference("job_key"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("job_key") && !error.contains("not a key"),
            "{error}"
        );
    }
}
