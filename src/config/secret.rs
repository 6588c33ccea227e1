//! Reading secrets from where the configuration says they are.

use secrecy::SecretString;

use crate::domain::SecretRef;

/// A reference leads nowhere. The message names the place, never what was found there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// The environment has no such variable, or it is empty.
    #[error("the environment variable {0} is not set")]
    Env(String),
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(String),
}

/// Reads the secret now; files are read anew each time, so that a rotated one is seen. One trailing newline is dropped.
///
/// # Errors
/// [`SecretError`].
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where env: references are read"
)]
pub fn resolve(reference: &SecretRef) -> Result<SecretString, SecretError> {
    let text = match reference {
        SecretRef::Env(name) => std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?,
        SecretRef::File(path) => std::fs::read_to_string(path).map_err(|error| SecretError::File {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?,
    };
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(SecretError::Empty(String::from(reference.clone())));
    }
    Ok(SecretString::from(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_file_loses_one_newline_and_an_empty_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "s3cret\n").unwrap();
        let reference = SecretRef::File(path.clone());
        let secret = resolve(&reference).unwrap();
        assert_eq!(secret.expose_secret(), "s3cret");
        assert!(!format!("{secret:?}").contains("s3cret"));
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(resolve(&reference), Err(SecretError::Empty(_))));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = resolve(&SecretRef::Env("CARAPULSE_NO_SUCH_VARIABLE".into())).unwrap_err();
        assert!(error.to_string().contains("CARAPULSE_NO_SUCH_VARIABLE"));
    }
}
