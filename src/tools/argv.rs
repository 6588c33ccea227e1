//! Argument vectors. A read's is made of checked arguments; a write's only of a [`Warrant`].

use serde_json::Value;

use super::{
    Fault,
    catalog::{ActionDef, ArgvPart, Class, CommandSpec, Values, render, text_values},
};
use crate::{domain::plan::Args, sandbox::Command, warrant::Warrant};

/// The commands of a read. Refuses a write.
pub(crate) fn read(def: &ActionDef, args: &Args, target: &Values) -> Result<Vec<Command>, Fault> {
    if def.class != Class::Read {
        return Err(Fault::refused(
            "not_a_read",
            format!("{}.{} writes", def.tool, def.action),
        ));
    }
    let mut values = target.clone();
    values.extend(text_values(args));
    commands(def, args, &values)
}

/// The commands of the write that `warrant` is for. `args` are the warrant's, checked against the schema; `prior` is what
/// this attempt captured.
pub(crate) fn write(
    warrant: &Warrant,
    def: &ActionDef,
    args: &Args,
    target: &Values,
    prior: &crate::domain::run::Captured,
) -> Result<Vec<Command>, Fault> {
    if warrant.action() != (def.tool.as_str(), def.action.as_str()) {
        return Err(Fault::refused(
            "warrant_mismatch",
            "the warrant is for another action",
        ));
    }
    let mut values = target.clone();
    values.extend(text_values(args));
    values.extend(
        prior
            .iter()
            .map(|(name, value)| (format!("prior.{name}"), value.clone())),
    );
    values.extend(act_values(warrant.act(), &warrant.nonce().simple().to_string()));
    commands(def, args, &values)
}

/// Placeholders that name the act. `mark` is what it leaves behind for a probe.
pub(crate) fn act_values(
    act: &crate::domain::run::ActRef,
    nonce: &str,
) -> impl Iterator<Item = (String, String)> {
    let direction = act.direction.as_str();
    let mark = format!("{}/{direction}/{}/{nonce}", act.step, act.attempt);
    [
        ("act.execution_id", act.execution_id.to_string()),
        ("act.step", act.step.to_string()),
        ("act.direction", direction.to_owned()),
        ("act.attempt", act.attempt.to_string()),
        ("act.nonce", nonce.to_owned()),
        ("act.mark", mark),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
}

fn commands(def: &ActionDef, args: &Args, values: &Values) -> Result<Vec<Command>, Fault> {
    def.spec
        .commands
        .iter()
        .map(|command| one(command, args, values))
        .collect()
}

fn one(spec: &CommandSpec, args: &Args, values: &Values) -> Result<Command, Fault> {
    let mut argv = Vec::with_capacity(spec.argv.len());
    for part in &spec.argv {
        match part {
            ArgvPart::Always(text) => push(text, args, values, &mut argv)?,
            ArgvPart::When(when) if present(args, &when.when_present) => {
                for text in &when.argv {
                    push(text, args, values, &mut argv)?;
                }
            }
            ArgvPart::When(_) => {}
        }
    }
    let stdin = spec.stdin.as_ref().map(|text| fill(text, values)).transpose()?;
    Ok(Command {
        argv,
        stdin: stdin.map(String::into_bytes),
    })
}

/// A list that stands alone becomes several arguments.
fn push(text: &str, args: &Args, values: &Values, argv: &mut Vec<String>) -> Result<(), Fault> {
    let alone = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match alone.and_then(|name| args.get(name)) {
        Some(Value::Array(items)) => {
            argv.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => argv.push(fill(text, values)?),
    }
    Ok(())
}

/// Given, and not `false`.
pub(crate) fn present(args: &Args, name: &str) -> bool {
    args.get(name).is_some_and(|value| value != &Value::Bool(false))
}

pub(crate) fn fill(text: &str, values: &Values) -> Result<String, Fault> {
    render(text, values).map_err(|missing| Fault::refused("value_missing", missing.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        domain::run::{ActRef, Direction},
        tools::catalog::Catalog,
    };

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn lines(commands: &[Command]) -> String {
        let lines: Vec<_> = commands
            .iter()
            .map(|c| serde_json::to_string(&c.argv).expect("JSON"))
            .collect();
        lines.join("\n")
    }

    fn values() -> Values {
        let act = ActRef {
            tenant_id: "default".parse().expect("tenant"),
            execution_id: uuid::Uuid::from_u128(7).into(),
            step: 0,
            direction: Direction::Forward,
            attempt: 1,
            epoch: 1,
        };
        let mut values: Values = act_values(&act, "0badcafe").collect();
        for (name, value) in [
            ("target.url", "/srv/shop.git"),
            ("target.branch", "main"),
            ("target.namespace", "shop"),
            ("prior.head", COMMIT),
            ("prior.replicas", "2"),
            ("prior.revision", "4"),
        ] {
            values.insert(name.into(), value.into());
        }
        values
    }

    #[test]
    fn every_argument_vector_is_as_snapshotted() {
        let catalog = Catalog::builtin();
        let mut out = String::new();
        for (tool, action, given) in [
            ("git", "head", json!({})),
            ("git", "log", json!({})),
            ("git", "log", json!({"limit": 5, "path": "deploy/shop"})),
            ("git", "show", json!({"commit": COMMIT})),
            ("git", "show", json!({"commit": COMMIT, "path": "deploy"})),
            ("git", "ls", json!({"path": "deploy"})),
            ("git", "file", json!({"path": "deploy/shop.yaml"})),
            (
                "git",
                "find_mark",
                json!({"execution": "exec_1", "mark": "0/forward", "since": COMMIT}),
            ),
            ("git", "revert", json!({"commit": COMMIT})),
            (
                "kubectl",
                "get",
                json!({"resource": "pods", "selector": "app=shop"}),
            ),
            ("kubectl", "get", json!({"resource": "deployment/shop"})),
            (
                "kubectl",
                "rollout_status",
                json!({"resource": "deployment/shop"}),
            ),
            (
                "kubectl",
                "rollout_history",
                json!({"resource": "deployment/shop"}),
            ),
            (
                "kubectl",
                "scale",
                json!({"resource": "deployment/shop", "replicas": 3}),
            ),
            (
                "kubectl",
                "rollout_restart",
                json!({"resource": "deployment/shop"}),
            ),
            (
                "kubectl",
                "rollout_undo",
                json!({"resource": "deployment/shop", "revision": 3}),
            ),
        ] {
            let def = catalog.action(tool, action).expect("built in");
            let args = def
                .check_args(&serde_json::from_value(given).expect("args"))
                .expect("checked");
            let mut values = values();
            values.extend(text_values(&args));
            let commands = commands(def, &args, &values).expect("commands");
            out.push_str(&format!("{tool}.{action}\n{}\n\n", lines(&commands)));
        }
        insta::assert_snapshot!(out);
    }

    #[test]
    fn invariant_2_a_write_has_no_argument_vector_without_a_warrant() {
        let catalog = Catalog::builtin();
        for def in catalog.iter().filter(|def| def.class == Class::Write) {
            assert_eq!(
                read(def, &Args::new(), &values()).expect_err("a write").code,
                "not_a_read"
            );
        }
    }
}
