//! From sources to sections.

use std::{
    env,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider, Source,
    error::Kind,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use super::{Document, Error, Secrets, Section, Targets};
use crate::domain::SecretRef;

/// Where settings come from, weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables, as `(name, value)`; those that do not concern us are passed over.
    pub environment: Vec<(String, String)>,
    /// `section.key=value` from the command line.
    pub set: Vec<String>,
}

impl Sources {
    /// The process' own environment, and what the command line gave.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            file,
            environment: env::vars_os().filter_map(text).collect(),
            set,
        }
    }
}

/// A loaded configuration. Sections are read from it one by one.
#[derive(Debug, Clone)]
pub struct Config {
    figment: Figment,
    data_dir: PathBuf,
}

impl Config {
    /// Reads the sources. Refuses what is no section; looks into none of them yet.
    ///
    /// # Errors
    /// [`Error`], the first one found.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let mut figment = Figment::new();
        if sources
            .environment
            .iter()
            .any(|(name, value)| name == "DATABASE_URL" && !value.is_empty())
        {
            figment = figment.merge(One::new(
                "the environment variable DATABASE_URL",
                "database.url",
                "env:DATABASE_URL",
            ));
        }
        if let Some(path) = &sources.file {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| Error::File {
                path: path.display().to_string(),
                problem: error.to_string(),
            })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        for (name, value) in &sources.environment {
            let Some(key) = variable_key(name) else { continue };
            figment = figment.merge(One::new(&format!("the environment variable {name}"), &key, value));
        }
        for pair in &sources.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| Error::Key {
                source_name: "--set".to_owned(),
                key: pair.clone(),
                problem: "expected section.key=value".to_owned(),
            })?;
            figment = figment.merge(One::new("--set", key.trim(), value));
        }
        let mut config = Self {
            figment,
            data_dir: PathBuf::new(),
        };
        config.check_top()?;
        config.data_dir = config.find_data_dir()?;
        Ok(config)
    }

    /// One part's settings.
    ///
    /// # Errors
    /// [`Error::Key`] for a key that is unknown, of the wrong type, or not allowed.
    pub fn get<T: Section>(&self) -> Result<T, Error> {
        let section = match self.figment.find_value(T::NAME) {
            Ok(value) => {
                let value = self.rebase(value);
                value
                    .deserialize::<T>()
                    .map_err(|error| self.explain(T::NAME, &error))?
            }
            Err(_) => T::default(),
        };
        section
            .check()
            .map_err(|(key, problem)| self.key_error(&format!("{}.{key}", T::NAME), problem))?;
        Ok(section)
    }

    /// Every section, for printing.
    ///
    /// # Errors
    /// The first section's that is wrong.
    pub fn document(&self) -> Result<Document, Error> {
        Ok(Document {
            data_dir: Some(self.data_dir.clone()),
            log: self.get()?,
            database: self.get()?,
            objects: self.get()?,
            gateway: self.get()?,
            tool_router: self.get()?,
            targets: self.get()?,
            orchestrator: self.get()?,
            agent: self.get()?,
            sandbox: self.get()?,
            notify: self.get()?,
            brake: self.get()?,
            policy: self.get()?,
        })
    }

    /// Folder of everything that this machine keeps.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Secrets that no setting points elsewhere for: `secrets` in the data folder.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        Secrets::in_folder(self.data_dir.join("secrets"))
    }

    /// The configured reference, or the one of this name in the data folder.
    #[must_use]
    pub fn secret(&self, configured: Option<&SecretRef>, name: &str) -> SecretRef {
        configured
            .cloned()
            .unwrap_or_else(|| self.secrets().reference(name))
    }

    /// Secrets that this configuration refers to anywhere but in what it grants targets: they are Carapulse's own.
    #[must_use]
    pub fn own_references(&self) -> Vec<SecretRef> {
        fn walk(value: &Value, found: &mut Vec<SecretRef>) {
            match value {
                Value::String(_, text) => found.extend(text.parse::<SecretRef>().ok()),
                Value::Dict(_, dict) => dict.values().for_each(|value| walk(value, found)),
                Value::Array(_, values) => values.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        for section in TOP_LEVEL.into_iter().filter(|section| *section != Targets::NAME) {
            if let Ok(value) = self.figment.find_value(section) {
                walk(&self.rebase(value), &mut found);
            }
        }
        found
    }

    /// An error about a key that was read well but cannot be used.
    #[must_use]
    pub fn key_error(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::Key {
            source_name: self.source_of(key),
            key: key.to_owned(),
            problem: problem.into(),
        }
    }

    fn check_top(&self) -> Result<(), Error> {
        let top = match self.figment.find_value("") {
            Ok(Value::Dict(_, top)) => top,
            Ok(_) => return Ok(()),
            Err(error) => {
                return Err(Error::File {
                    path: source_name(error.metadata.as_ref()),
                    problem: error.kind.to_string(),
                });
            }
        };
        for key in top.keys() {
            if !TOP_LEVEL.contains(&key.as_str()) {
                let expected = format!("unknown: expected one of {}", TOP_LEVEL.join(", "));
                return Err(self.key_error(key, expected));
            }
        }
        Ok(())
    }

    fn find_data_dir(&self) -> Result<PathBuf, Error> {
        let path = match self.figment.find_value("data_dir") {
            // In a file it is relative to that file's folder, as references are; elsewhere to the present one.
            Ok(Value::String(tag, text)) => match self.folder_of(tag) {
                Some(folder) => folder.join(text),
                None => PathBuf::from(text),
            },
            Ok(_) => return Err(self.key_error("data_dir", "expected a path")),
            Err(_) => default_data_dir(),
        };
        std::path::absolute(&path).map_err(|error| self.key_error("data_dir", error.to_string()))
    }

    /// `file:PATH` in a file is relative to that file's folder, so that the folder can be moved as a whole.
    fn rebase(&self, value: Value) -> Value {
        match value {
            Value::Dict(tag, dict) => {
                let dict = dict.into_iter().map(|(key, value)| (key, self.rebase(value)));
                Value::Dict(tag, dict.collect())
            }
            Value::Array(tag, values) => {
                Value::Array(tag, values.into_iter().map(|value| self.rebase(value)).collect())
            }
            Value::String(tag, text) => {
                let folder = self.folder_of(tag);
                let path = text
                    .strip_prefix("file:")
                    .map(Path::new)
                    .filter(|path| path.is_relative());
                match (folder, path) {
                    (Some(folder), Some(path)) => {
                        Value::String(tag, format!("file:{}", folder.join(path).display()))
                    }
                    _ => Value::String(tag, text),
                }
            }
            other => other,
        }
    }

    /// The folder of the file that a value comes from.
    fn folder_of(&self, tag: figment::value::Tag) -> Option<&Path> {
        let metadata = self.figment.get_metadata(tag)?;
        metadata.source.as_ref()?.file_path()?.parent()
    }

    fn explain(&self, section: &str, error: &figment::Error) -> Error {
        let mut key = std::iter::once(section)
            .chain(error.path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(".");
        let problem = match &error.kind {
            Kind::UnknownField(name, expected) => {
                if error.path.last() != Some(name) {
                    key = format!("{key}.{name}");
                }
                format!("unknown: expected one of {}", expected.join(", "))
            }
            Kind::MissingField(name) => {
                key = format!("{key}.{name}");
                "missing".to_owned()
            }
            Kind::InvalidType(actual, expected) => format!("found {actual}, expected {expected}"),
            kind => kind.to_string(),
        };
        self.key_error(&key, problem)
    }

    /// Where a key, or the nearest table around it, comes from.
    fn source_of(&self, key: &str) -> String {
        let mut key = key;
        loop {
            if let Some(metadata) = self.figment.find_metadata(key) {
                return source_name(Some(metadata));
            }
            match key.rsplit_once('.') {
                Some((outer, _)) => key = outer,
                None => return "defaults".to_owned(),
            }
        }
    }
}

const TOP_LEVEL: [&str; 13] = [
    "data_dir",
    "log",
    "database",
    "objects",
    "gateway",
    "tool_router",
    "targets",
    "orchestrator",
    "agent",
    "sandbox",
    "notify",
    "brake",
    "policy",
];

/// `CARAPULSE_GATEWAY__HTTP_ADDR` → `gateway.http_addr`; other variables of that prefix are no settings.
fn variable_key(name: &str) -> Option<String> {
    let rest = name.strip_prefix("CARAPULSE_")?;
    (rest.contains("__") || rest == "DATA_DIR").then(|| rest.to_ascii_lowercase().replace("__", "."))
}

/// Where what can be made again is kept; `None` without a home.
#[must_use]
pub fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("carapulse"))
}

fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/carapulse");
    }
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(env::temp_dir)
        .join("carapulse")
}

fn source_name(metadata: Option<&Metadata>) -> String {
    let Some(metadata) = metadata else {
        return "defaults".to_owned();
    };
    match &metadata.source {
        Some(Source::File(path)) => path.display().to_string(),
        _ => metadata.name.to_string(),
    }
}

/// One setting from one place.
#[derive(Debug)]
struct One {
    source_name: String,
    key: String,
    value: Value,
}

impl One {
    fn new(source_name: &str, key: &str, text: &str) -> Self {
        // Numbers, booleans, lists and tables as in TOML; everything else is text.
        let value = text.parse().unwrap_or_else(|_| Value::from(text));
        Self {
            source_name: source_name.to_owned(),
            key: key.to_owned(),
            value,
        }
    }
}

impl Provider for One {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source_name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests;
