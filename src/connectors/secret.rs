//! Resolves a [`SecretRef`] at the moment of use.

use secrecy::SecretString;

use super::Error;
use crate::domain::SecretRef;

/// Reads the secret that `reference` names; one trailing newline of a file is dropped. Blank secrets are refused.
pub fn read(reference: &SecretRef) -> Result<SecretString, Error> {
    let fail = |reason: String| Error::Secret {
        reference: reference.clone().into(),
        reason,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a reference to a secret is resolved where it is used, and only here"
    )]
    let read_env = |name: &String| std::env::var(name);
    let mut text = match reference {
        SecretRef::Env(name) => read_env(name).map_err(|e| fail(e.to_string()))?,
        SecretRef::File(path) => std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?,
    };
    if matches!(reference, SecretRef::File(_)) && text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.trim().is_empty() {
        return Err(fail("is blank".into()));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn one_newline_is_dropped_and_a_blank_or_missing_file_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret \n").expect("write");
        let reference = SecretRef::File(path.clone());
        assert_eq!(read(&reference).expect("read").expose_secret(), "s3cret ");
        std::fs::write(&path, " \n").expect("write");
        assert!(read(&reference).is_err());
        let missing = read(&SecretRef::File(folder.path().join("none"))).expect_err("missing");
        assert!(missing.to_string().contains("none"), "{missing}");
    }
}
