//! The files that checks read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;

/// A folder that holds a checkout; the tests make small ones of their own.
pub struct Repository(PathBuf);

impl Repository {
    pub fn here() -> Self {
        Self(workspace::root().to_path_buf())
    }

    #[cfg(test)]
    pub fn at(root: &Path) -> Self {
        Self(root.to_path_buf())
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside)
    }

    pub fn text(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.path(file)).with_context(|| format!("cannot read {file}"))
    }

    /// The one document of a YAML file.
    pub fn yaml(&self, file: &str) -> Result<Value> {
        serde_saphyr::from_str(&self.text(file)?).with_context(|| file.to_owned())
    }

    /// Every document of a YAML file, empty ones left out.
    pub fn documents(&self, file: &str) -> Result<Vec<Value>> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&self.text(file)?).with_context(|| file.to_owned())?;
        Ok(documents
            .into_iter()
            .filter(|document| !document.is_null())
            .collect())
    }

    /// Paths of the files under a folder whose names end so, sorted; an error when there is none.
    pub fn files(&self, folder: &str, ending: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.collect(Path::new(folder), ending, &mut found)?;
        if found.is_empty() {
            bail!("{folder} holds no file that ends in `{ending}`");
        }
        found.sort();
        Ok(found)
    }

    fn collect(&self, folder: &Path, ending: &str, found: &mut Vec<String>) -> Result<()> {
        let entries =
            fs::read_dir(self.0.join(folder)).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.collect(&path, ending, found)?;
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
        Ok(())
    }
}

/// The value at a pointer such as `/jobs/test`; an error that names what is missing.
pub fn at<'a>(value: &'a Value, pointer: &str) -> Result<&'a Value> {
    value
        .pointer(pointer)
        .with_context(|| format!("there is no `{pointer}`"))
}

/// The text at a pointer.
pub fn text_at<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    at(value, pointer)?
        .as_str()
        .with_context(|| format!("`{pointer}` is not text"))
}

/// The keys and values of a mapping at a pointer.
pub fn entries<'a>(value: &'a Value, pointer: &str) -> Result<Vec<(&'a str, &'a Value)>> {
    let map = at(value, pointer)?
        .as_object()
        .with_context(|| format!("`{pointer}` is not a mapping"))?;
    Ok(map.iter().map(|(key, value)| (key.as_str(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_folders_below_and_none_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("a/b")).expect("made");
        fs::write(folder.path().join("a/b/x.yaml"), "k: 1\n---\n---\nk: 2\n").expect("written");
        let repository = Repository::at(folder.path());
        assert_eq!(repository.files("a", ".yaml").expect("found"), ["a/b/x.yaml"]);
        assert_eq!(repository.documents("a/b/x.yaml").expect("read").len(), 2);
        assert!(repository.files("a", ".toml").is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let value = serde_json::json!({ "a": { "b": "text" } });
        assert_eq!(text_at(&value, "/a/b").expect("there"), "text");
        assert!(
            at(&value, "/a/c")
                .expect_err("missing")
                .to_string()
                .contains("/a/c")
        );
        assert!(entries(&value, "/a/b").is_err());
    }
}
