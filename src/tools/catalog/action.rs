//! One action of one tool, checked and with its semantic digest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    ArgError, Catalog, args,
    format::{ActionSpec, Class, CredentialSpec, Place},
    template,
};
use crate::domain::{CanonicalError, Digest, EffectKind, Guard, Risk, canonical, plan};

/// Tag of an action's semantic digest.
pub const DIGEST_TAG: &str = "carapulse.action";
/// Format version of what that digest covers.
pub const DIGEST_VERSION: u16 = 1;

/// One action of one tool.
#[derive(Debug, Clone)]
pub struct ActionDef {
    /// `kubectl`.
    pub tool: String,
    /// `scale`.
    pub action: String,
    /// One line for people; not part of the digest.
    pub summary: String,
    /// Covers schema, argument vectors, class, risk, effect, guard, inverse, capture, probe, place, limits; no prose.
    pub digest: Digest,
    /// Reads or writes.
    pub class: Class,
    /// How dangerous it is.
    pub risk: Risk,
    /// What may be repeated after a crash.
    pub effect: EffectKind,
    /// What stops it when the world has moved.
    pub guard: Guard,
    /// How it is undone.
    pub inverse: InverseSpec,
    /// Names of the values captured before the act.
    pub captures: BTreeSet<String>,
    /// Those of [`Self::captures`] that a plan may put into `expected_prior`.
    pub compared: BTreeSet<String>,
    /// Kind of evidence that its answer is (`git`, `k8s`, `promql`).
    pub evidence_kind: String,
    /// Hard limit of one run.
    pub timeout_secs: u32,
    /// Most output kept of each stream of each command.
    pub output_bytes: usize,
    /// What a target must have.
    pub place: Place,
    /// Only for captures and probes: no plan and no read may name it.
    pub internal: bool,
    pub(crate) credential: Option<CredentialSpec>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) spec: ActionSpec,
}

/// How an action is undone, before any plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InverseSpec {
    /// A read: nothing to undo.
    None,
    /// Another action.
    Action {
        /// Tool of the catalogue.
        tool: String,
        /// Action of the tool.
        action: String,
        /// `{name}` stands for an argument of the forward act, `$prior.NAME` and `$result.NAME` for what it captured.
        args: BTreeMap<String, String>,
        /// Capture of the inverse → argument or `$result.NAME` of the act: what it must find, or somebody came between.
        expect: BTreeMap<String, String>,
    },
    /// Cannot be undone.
    Irreversible {
        /// Why.
        reason: String,
    },
}

impl ActionDef {
    /// Checks arguments that people, rules or models gave: closed, typed, no leading dash; fills in defaults.
    pub fn check_args(&self, given: &plan::Args) -> Result<plan::Args, Vec<ArgError>> {
        args::check(&self.spec.args, given, false)
    }

    /// Checks arguments that were derived from captured values, where numbers are text.
    pub fn check_derived_args(&self, given: &plan::Args) -> Result<plan::Args, Vec<ArgError>> {
        args::check(&self.spec.args, given, true)
    }

    /// The inverse to put into a plan: forward arguments filled in, `$prior.` and `$result.` left for the act.
    ///
    /// `args` must have passed [`Self::check_args`].
    #[must_use]
    pub fn inverse_for(&self, args: &plan::Args, catalog: &Catalog) -> plan::Inverse {
        match &self.inverse {
            InverseSpec::None => plan::Inverse::None,
            InverseSpec::Irreversible { reason } => plan::Inverse::Irreversible {
                reason: reason.clone(),
            },
            InverseSpec::Action {
                tool,
                action,
                args: templates,
                ..
            } => {
                let Some(inverse) = catalog.action(tool, action) else {
                    return plan::Inverse::Irreversible {
                        reason: format!("{tool}.{action} is not in the catalogue"),
                    };
                };
                plan::Inverse::Action {
                    tool: tool.clone(),
                    action: action.clone(),
                    action_digest: inverse.digest,
                    args: templates
                        .iter()
                        .map(|(name, text)| (name.clone(), fill(text, args)))
                        .collect(),
                }
            }
        }
    }

    /// The closed JSON schema of its arguments.
    #[must_use]
    pub fn json_schema(&self) -> Value {
        args::json_schema(&self.spec.args)
    }

    /// What the digest covers, as canonical bytes: also what `action_definition` rows hold.
    pub fn semantic_bytes(&self, reads: &[Digest]) -> Result<Vec<u8>, CanonicalError> {
        let spec = serde_json::to_value(&self.spec).map_err(|e| CanonicalError::NotJson(e.to_string()))?;
        let mut document = json!({
            "tool": self.tool,
            "action": self.action,
            "place": self.place,
            "env": self.env,
            "definition": spec,
            "reads": reads,
        });
        if let Some(credential) = &self.credential {
            document["credential"] =
                serde_json::to_value(credential).map_err(|e| CanonicalError::NotJson(e.to_string()))?;
        }
        canonical::value_to_bytes(&document)
    }
}

/// A template that is one placeholder takes the argument with its type; any other becomes text.
fn fill(text: &str, args: &plan::Args) -> Value {
    let mut names = template::placeholders(text);
    if let (Some(name), None) = (names.next(), names.next())
        && text.len() == name.len() + 2
        && let Some(value) = args.get(name)
    {
        return value.clone();
    }
    let values = template::Values::from_iter(text_values(args));
    template::render(text, &values).map_or_else(|_| Value::from(text), Value::from)
}

/// Arguments as placeholder values. Lists have none: they stand only alone, and are expanded.
pub(crate) fn text_values(args: &plan::Args) -> impl Iterator<Item = (String, String)> + '_ {
    args.iter()
        .filter_map(|(name, value)| super::value::scalar(value).map(|text| (name.clone(), text)))
}
