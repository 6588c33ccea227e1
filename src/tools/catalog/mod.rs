//! The catalogue: what each tool can do, in one definition file a tool.
//!
//! In: the embedded `*.toml` files. Out: [`ActionDef`]s with a closed argument schema, class, risk, effect, inverse and a
//! semantic digest. Always holds: a definition that could let an argument become an option, that names a placeholder
//! without a source, or a write without inverse, is refused when the catalogue is built. Not here: running anything.

mod action;
mod args;
mod format;
mod lint;
mod pattern;
mod template;
mod value;

use std::collections::{BTreeMap, BTreeSet};

pub use action::{ActionDef, DIGEST_TAG, DIGEST_VERSION, InverseSpec};
pub use args::ArgError;
pub use format::{Class, Place};

pub(crate) use action::text_values;
pub(crate) use format::{
    ArgvPart, CaptureSpec, CommandSpec, CredentialKind, ExitMeaning, HttpSpec, ValueSpec,
};
pub(crate) use pattern::{is_name, is_ref};
pub(crate) use template::{Values, render};

use crate::domain::{Digest, EffectKind};

const BUILTIN: [&str; 3] = [
    include_str!("git.toml"),
    include_str!("kubectl.toml"),
    include_str!("prometheus.toml"),
];

/// All actions of all tools.
#[derive(Debug, Clone)]
pub struct Catalog {
    actions: BTreeMap<(String, String), ActionDef>,
    tools: BTreeMap<String, String>,
}

/// A definition file that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tool definition {place}: {problem}")]
pub struct CatalogError {
    /// `tool` or `tool.action`.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Catalog {
    /// The tools that Carapulse brings.
    ///
    /// # Panics
    /// Never in a released build: the tests build it.
    #[must_use]
    pub fn builtin() -> Self {
        Self::from_texts(&BUILTIN).expect("the embedded definitions are tested")
    }

    /// Reads definition files.
    pub fn from_texts(texts: &[&str]) -> Result<Self, CatalogError> {
        let mut catalog = Self {
            actions: BTreeMap::new(),
            tools: BTreeMap::new(),
        };
        for text in texts {
            let file: format::ToolFile = toml::from_str(text).map_err(|e| CatalogError {
                place: first_line(text),
                problem: e.to_string(),
            })?;
            catalog.add(file)?;
        }
        lint::inverses(&catalog)?;
        Ok(catalog)
    }

    /// One action; `None` when there is no such tool or action.
    #[must_use]
    pub fn action(&self, tool: &str, action: &str) -> Option<&ActionDef> {
        self.actions.get(&(tool.to_owned(), action.to_owned()))
    }

    /// All actions, by tool and name, those for captures and probes included.
    pub fn iter(&self) -> impl Iterator<Item = &ActionDef> {
        self.actions.values()
    }

    /// Tools with their summaries.
    pub fn tools(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tools
            .iter()
            .map(|(name, summary)| (name.as_str(), summary.as_str()))
    }

    /// What the action's digest covers, as canonical bytes.
    #[must_use]
    pub fn definition(&self, def: &ActionDef) -> Vec<u8> {
        def.semantic_bytes(&self.read_digests(def))
            .expect("was canonical when the catalogue was built")
    }

    fn add(&mut self, file: format::ToolFile) -> Result<(), CatalogError> {
        if self
            .tools
            .insert(file.tool.clone(), file.summary.clone())
            .is_some()
        {
            return Err(CatalogError {
                place: file.tool,
                problem: "is defined twice".into(),
            });
        }
        lint::tool(&file)?;
        // Reads first: the digest of a write covers those that it captures and probes with.
        let (reads, writes): (Vec<_>, Vec<_>) = file
            .actions
            .iter()
            .partition(|(_, spec)| spec.class == Class::Read);
        for (name, spec) in reads.into_iter().chain(writes) {
            let mut def = define(&file, name, spec);
            let refused = |problem: String| CatalogError {
                place: format!("{}.{name}", file.tool),
                problem,
            };
            let bytes = def
                .semantic_bytes(&self.read_digests(&def))
                .map_err(|e| refused(e.to_string()))?;
            def.digest = Digest::of(DIGEST_TAG, DIGEST_VERSION, &bytes);
            self.actions.insert((file.tool.clone(), name.clone()), def);
        }
        Ok(())
    }

    fn read_digests(&self, def: &ActionDef) -> Vec<Digest> {
        let capture = def.spec.capture.as_ref().map(|c| &c.read);
        let probe = def.spec.probe.as_ref().map(|p| &p.read);
        let reads = capture.into_iter().chain(probe);
        reads
            .filter_map(|read| self.action(&def.tool, read))
            .map(|read| read.digest)
            .collect()
    }
}

fn define(file: &format::ToolFile, name: &str, spec: &format::ActionSpec) -> ActionDef {
    let captured = spec.capture.iter().flat_map(|c| &c.values);
    let names = |wanted: fn(&ValueSpec) -> bool| -> BTreeSet<String> {
        captured
            .clone()
            .filter(|(_, v)| wanted(v))
            .map(|(name, _)| name.clone())
            .collect()
    };
    ActionDef {
        tool: file.tool.clone(),
        action: name.to_owned(),
        summary: spec.summary.clone(),
        digest: Digest::from_bytes([0; 32]),
        class: spec.class,
        risk: spec.risk,
        effect: spec.effect,
        guard: spec.guard,
        inverse: inverse(spec),
        captures: names(|_| true),
        compared: names(|value| value.compared),
        evidence_kind: file.evidence_kind.clone(),
        timeout_secs: spec.timeout_secs,
        output_bytes: spec.output_bytes,
        place: file.place,
        internal: spec.internal,
        credential: file.credential.clone(),
        env: file.env.clone(),
        spec: spec.clone(),
    }
}

fn inverse(spec: &format::ActionSpec) -> InverseSpec {
    let Some(entry) = spec.inverse.as_ref().filter(|_| spec.effect != EffectKind::None) else {
        return InverseSpec::None;
    };
    match (&entry.tool, &entry.action) {
        (Some(tool), Some(action)) => InverseSpec::Action {
            tool: tool.clone(),
            action: action.clone(),
            args: entry.args.clone(),
            expect: entry.expect.clone(),
        },
        _ => InverseSpec::Irreversible {
            reason: entry.irreversible.clone().unwrap_or_default(),
        },
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(60).collect()
}

#[cfg(test)]
mod tests;
