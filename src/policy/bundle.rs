//! A bundle: the rules as one canonical archive with a digest.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::{CanonicalError, Digest, canonical};

/// Tag of a bundle's digest.
const DIGEST_TAG: &str = "carapulse.policy_bundle";
const VERSION: u16 = 1;
const MAX_BYTES: usize = 1024 * 1024;

/// The functions that a bundle may use. A list of ours: a bundle cannot grant itself anything.
const CAPABILITIES: &str = include_str!("../../policies/capabilities.json");

macro_rules! builtin_files {
    ($($name:literal),* $(,)?) => {
        [$((
            concat!("policy/assistant/v1/", $name),
            include_str!(concat!("../../policies/policy/assistant/v1/", $name)),
        )),*]
    };
}

/// Why a bundle is not accepted. The one that was active stays.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a canonical archive.
    #[error("the bundle is not a canonical archive: {0}")]
    Archive(#[from] CanonicalError),
    /// A file outside of what a bundle holds, or too many bytes.
    #[error("the bundle's files are refused: {0}")]
    Files(String),
    /// The rules do not compile.
    #[error("the rules do not compile: {0}")]
    Compile(String),
    /// A function that is not on the list.
    #[error("the rules call `{0}`, which is not in policies/capabilities.json")]
    Builtin(String),
    /// It answers a canary wrongly.
    #[error("the rules fail the self-test `{canary}`: {why}")]
    SelfTest {
        /// Which question.
        canary: &'static str,
        /// What was wrong with the answer.
        why: String,
    },
}

/// Rules by path (`policy/assistant/v1/base.rego`), tests left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    files: BTreeMap<String, String>,
    bytes: Vec<u8>,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Archive {
    files: BTreeMap<String, String>,
}

impl Bundle {
    /// The rules that this binary was built with.
    #[must_use]
    pub fn builtin() -> Self {
        let files = builtin_files![
            "actors.rego",
            "base.rego",
            "break_glass.rego",
            "environment.rego",
            "helpers.rego",
            "read.rego",
            "write.rego",
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        Self::new(files.into()).expect("the embedded rules make a canonical archive: a test builds it")
    }

    /// An archive of `files` by path. Tests are left out; any other file that is no `.rego` under `policy/` is refused.
    pub fn new(files: BTreeMap<String, String>) -> Result<Self, BundleError> {
        let files: BTreeMap<_, _> = files
            .into_iter()
            .filter(|(path, _)| !path.ends_with("_test.rego"))
            .collect();
        let bytes = canonical::to_bytes(&Archive { files: files.clone() })?;
        check_files(&files, bytes.len())?;
        let digest = Digest::of(DIGEST_TAG, VERSION, &bytes);
        Ok(Self { files, bytes, digest })
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let archive: Archive = canonical::from_bytes(bytes)?;
        check_files(&archive.files, bytes.len())?;
        Ok(Self {
            files: archive.files,
            bytes: bytes.to_vec(),
            digest: Digest::of(DIGEST_TAG, VERSION, bytes),
        })
    }

    /// The canonical bytes to store.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What names this bundle.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What OPA's `.manifest` of this bundle says: its digest as the revision, so that OPA can tell which one it serves.
    #[must_use]
    pub fn manifest(&self) -> String {
        serde_json::json!({ "revision": self.digest, "roots": ["policy"] }).to_string()
    }

    /// The rules by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Names of the functions that rules may call.
pub(super) fn allowed_builtins() -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Capabilities {
        builtins: Vec<Builtin>,
    }
    #[derive(Deserialize)]
    struct Builtin {
        name: String,
    }
    let capabilities: Capabilities =
        serde_json::from_str(CAPABILITIES).expect("policies/capabilities.json is read by a test");
    capabilities
        .builtins
        .into_iter()
        .map(|builtin| builtin.name)
        .collect()
}

fn check_files(files: &BTreeMap<String, String>, size_bytes: usize) -> Result<(), BundleError> {
    if files.is_empty() || size_bytes > MAX_BYTES {
        return Err(BundleError::Files(format!(
            "{} files, {size_bytes} bytes: 1 file to {MAX_BYTES} bytes are taken",
            files.len()
        )));
    }
    let foreign = files
        .keys()
        .find(|path| !path.starts_with("policy/") || !path.ends_with(".rego"));
    foreign.map_or(Ok(()), |path| {
        Err(BundleError::Files(format!(
            "`{path}` is not a .rego file under policy/"
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_bundle_holds_every_rule_of_the_folder_and_no_test() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/policy/assistant/v1");
        let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("folder of rules")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
            .filter(|name| !name.ends_with("_test.rego"))
            .map(|name| format!("policy/assistant/v1/{name}"))
            .collect();
        let bundle = Bundle::builtin();
        let embedded: BTreeSet<String> = bundle.files().map(|(path, _)| path.to_owned()).collect();
        assert_eq!(embedded, on_disk);
        assert_eq!(Bundle::from_bytes(bundle.bytes()).expect("reads back"), bundle);
        let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/.manifest"));
        assert_eq!(
            manifest.expect("policies/.manifest").trim_end(),
            bundle.manifest(),
            "`cargo xtask gen` writes it anew"
        );
    }

    #[test]
    fn one_changed_byte_is_another_bundle_and_foreign_files_are_refused() {
        let mut files: BTreeMap<String, String> = Bundle::builtin()
            .files()
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .collect();
        files
            .entry("policy/assistant/v1/base.rego".to_owned())
            .or_default()
            .push('\n');
        assert_ne!(
            Bundle::new(files.clone()).expect("bundle").digest(),
            Bundle::builtin().digest()
        );
        files.insert("etc/passwd".to_owned(), String::new());
        assert!(matches!(Bundle::new(files), Err(BundleError::Files(_))));
        assert!(matches!(Bundle::new(BTreeMap::new()), Err(BundleError::Files(_))));
        assert!(matches!(Bundle::from_bytes(b"{ }"), Err(BundleError::Archive(_))));
    }

    #[test]
    fn clock_and_network_are_not_on_the_list() {
        let allowed = allowed_builtins();
        for banned in [
            "http.send",
            "time.now_ns",
            "opa.runtime",
            "rand.intn",
            "uuid.rfc4122",
            "net.lookup_ip_addr",
        ] {
            assert!(!allowed.contains(banned), "{banned}");
        }
        assert!(allowed.contains("count"));
    }
}
