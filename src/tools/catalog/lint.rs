//! What a definition must satisfy beyond its shape.

use std::collections::BTreeSet;

use super::{
    Catalog, CatalogError, InverseSpec,
    format::{
        ActionSpec, ArgKind, ArgvPart, Class, CommandSpec, InverseEntry, OutputSpec, Place, ToolFile,
        ValueSpec,
    },
    pattern::is_name,
    template::placeholders,
};
use crate::domain::{EffectKind, Guard, Risk};

/// Longest that one run may take.
const MAX_TIMEOUT_SECS: u32 = 900;

/// Checks one file.
pub(super) fn tool(file: &ToolFile) -> Result<(), CatalogError> {
    let at = |place: &str, problem: String| CatalogError {
        place: place.to_owned(),
        problem,
    };
    if !is_name(&file.tool) || file.tool.contains('.') {
        return Err(at(&file.tool, "the name must be of a-z, 0-9, `-` and `_`".into()));
    }
    for (name, spec) in &file.actions {
        let place = format!("{}.{name}", file.tool);
        Lint { file, spec }
            .run(name)
            .map_err(|problem| at(&place, problem))?;
    }
    Ok(())
}

/// Checks that every inverse exists, is a write, and that what it expects is captured and answered.
pub(super) fn inverses(catalog: &Catalog) -> Result<(), CatalogError> {
    for def in catalog.iter() {
        let InverseSpec::Action {
            tool,
            action,
            args,
            expect,
        } = &def.inverse
        else {
            continue;
        };
        let refused = |problem: String| {
            Err(CatalogError {
                place: format!("{}.{}", def.tool, def.action),
                problem: format!("inverse: {problem}"),
            })
        };
        let Some(inverse) = catalog.action(tool, action).filter(|i| i.class == Class::Write) else {
            return refused(format!("{tool}.{action} is not a write of the catalogue"));
        };
        if let Some(unknown) = args.keys().find(|name| !inverse.spec.args.contains_key(*name)) {
            return refused(format!("`{unknown}` is not an argument of {tool}.{action}"));
        }
        if let Some(unknown) = expect.keys().find(|name| !inverse.captures.contains(*name)) {
            return refused(format!("`{unknown}` is not captured by {tool}.{action}"));
        }
    }
    Ok(())
}

struct Lint<'a> {
    file: &'a ToolFile,
    spec: &'a ActionSpec,
}

type Checked = Result<(), String>;

impl Lint<'_> {
    fn run(&self, name: &str) -> Checked {
        ensure(
            is_name(name),
            "the action's name must be of a-z, 0-9, `-` and `_`",
        )?;
        ensure(
            (1..=MAX_TIMEOUT_SECS).contains(&self.spec.timeout_secs),
            "timeout_secs must be from 1 to 900",
        )?;
        ensure(
            self.spec.exit_codes.keys().all(|code| code.parse::<u8>().is_ok()),
            "exit_codes must be 0 to 255",
        )?;
        self.args()?;
        self.form()?;
        self.output()?;
        match self.spec.class {
            Class::Read => self.read(),
            Class::Write => self.write(),
        }
    }

    fn args(&self) -> Checked {
        for (name, arg) in &self.spec.args {
            let texts = matches!(arg.kind, ArgKind::String | ArgKind::List);
            let named = matches!(arg.kind, ArgKind::Workload | ArgKind::Resource);
            ensure(
                !name.contains('.') && is_name(name),
                "an argument's name has no dot",
            )?;
            ensure(
                texts == arg.pattern.is_some(),
                "texts, and only they, have a pattern",
            )?;
            ensure(
                named != arg.kinds.is_empty(),
                "workloads and resources, and only they, have kinds",
            )?;
            let secrets = arg
                .kinds
                .iter()
                .any(|kind| kind.starts_with("secret") || kind.starts_with("configmap"));
            ensure(!secrets, "Secrets cannot be read")?;
        }
        Ok(())
    }

    /// Exactly one of commands and http, each with sound templates.
    fn form(&self) -> Checked {
        let by_http = self.file.place == Place::Prometheus;
        ensure(
            by_http == self.spec.http.is_some(),
            "http and only http for a place that the connector calls",
        )?;
        ensure(
            by_http == self.spec.commands.is_empty(),
            "commands for every other place",
        )?;
        for command in &self.spec.commands {
            self.command(command)?;
        }
        for field in self.spec.http.iter().flat_map(|http| &http.form) {
            self.known(&field.value, field.when_present.as_deref())?;
        }
        for file in &self.spec.files {
            ensure(
                file.text.is_some() != file.secret.is_some(),
                "a file has a text or a secret",
            )?;
            self.known(file.text.as_deref().unwrap_or_default(), None)?;
        }
        for text in self.file.env.values() {
            ensure(
                placeholders(text).next().is_none(),
                "an environment variable takes no argument",
            )?;
        }
        Ok(())
    }

    fn command(&self, command: &CommandSpec) -> Checked {
        let mut after_dashes = false;
        for (index, part) in command.argv.iter().enumerate() {
            let (texts, when) = match part {
                ArgvPart::Always(text) => (std::slice::from_ref(text), None),
                ArgvPart::When(when) => (&when.argv[..], Some(when.when_present.as_str())),
            };
            ensure(
                when.is_none_or(|name| self.spec.args.contains_key(name)),
                "when_present names no argument",
            )?;
            for text in texts {
                ensure(
                    index > 0 || placeholders(text).next().is_none(),
                    "the program is no placeholder",
                )?;
                ensure(
                    after_dashes || !text.starts_with('{') || text.starts_with("{{"),
                    "an argument stands after `--`, or behind `--flag=`: it could become an option",
                )?;
                self.known(text, when)?;
                after_dashes |= text == "--" || text == "--end-of-options";
            }
            let forbidden = ["--wait", "--force", "--atomic", "--grace-period=0"];
            ensure(
                !texts.iter().any(|t| forbidden.contains(&t.as_str())),
                "--wait, --force and --atomic are never passed",
            )?;
        }
        self.known(command.stdin.as_deref().unwrap_or_default(), None)?;
        command.result.values().try_for_each(one_way)
    }

    /// Every placeholder has a source, and one that may be absent stands only under its own `when_present`.
    fn known(&self, text: &str, when: Option<&str>) -> Checked {
        for name in placeholders(text) {
            let source = match name.split_once('.') {
                Some(("target", field)) => self.target_fields().contains(&field),
                Some(("prior", value)) => self
                    .spec
                    .capture
                    .as_ref()
                    .and_then(|c| c.values.get(value))
                    .is_some_and(|v| !v.optional),
                Some(("act", field)) => {
                    self.spec.class == Class::Write
                        && ["execution_id", "step", "direction", "attempt", "nonce", "mark"].contains(&field)
                }
                Some(_) => false,
                None => self.spec.args.get(name).is_some_and(|arg| {
                    arg.kind != ArgKind::Secret
                        && (arg.required || arg.default.is_some() || when == Some(name))
                }),
            };
            ensure(source, &format!("`{{{name}}}` has no value here"))?;
        }
        Ok(())
    }

    const fn target_fields(&self) -> &'static [&'static str] {
        match self.file.place {
            Place::Git => &["url", "branch"],
            Place::Kubernetes => &["namespace"],
            Place::Prometheus => &[],
        }
    }

    fn output(&self) -> Checked {
        match &self.spec.output {
            OutputSpec::Json | OutputSpec::Text => Ok(()),
            OutputSpec::Columns { separator, columns } => ensure(
                !separator.is_empty() && !columns.is_empty(),
                "columns need names and a separator",
            ),
            OutputSpec::Fields { fields } => fields.values().try_for_each(one_way),
        }
    }

    fn read(&self) -> Checked {
        let spec = self.spec;
        ensure(
            spec.risk == Risk::Read && spec.effect == EffectKind::None,
            "a read has risk `read` and effect `none`",
        )?;
        ensure(!spec.commands.iter().any(|c| c.acts), "a read does not act")?;
        ensure(
            spec.capture.is_none() && spec.probe.is_none() && spec.inverse.is_none(),
            "a read has no capture, probe or inverse",
        )
    }

    fn write(&self) -> Checked {
        let spec = self.spec;
        ensure(
            spec.risk != Risk::Read && spec.effect != EffectKind::None,
            "a write has a risk and an effect",
        )?;
        ensure(!spec.internal, "only reads are internal")?;
        ensure(
            spec.commands.iter().filter(|c| c.acts).count() == 1,
            "exactly one command of a write acts",
        )?;
        ensure(
            spec.guard == Guard::None || spec.capture.is_some(),
            "a guarded write captures what it guards",
        )?;
        if let Some(capture) = &spec.capture {
            self.reads(&capture.read, capture.args.iter())?;
            capture.values.values().try_for_each(one_way)?;
        }
        let probed = matches!(spec.effect, EffectKind::Marked | EffectKind::Converge);
        ensure(
            !probed || spec.probe.is_some(),
            "a marked or converging write has a probe",
        )?;
        if let Some(probe) = &spec.probe {
            self.reads(&probe.read, probe.args.iter())?;
            ensure(!probe.done.is_empty(), "a probe says what done means")?;
            probe
                .done
                .iter()
                .try_for_each(|done| self.known(&done.to, None))?;
        }
        self.inverse(
            spec.inverse
                .as_ref()
                .ok_or("a write names its inverse, or why there is none")?,
        )
    }

    fn reads<'t>(&self, read: &str, args: impl Iterator<Item = (&'t String, &'t String)>) -> Checked {
        let target = self.file.actions.get(read).filter(|a| a.class == Class::Read);
        let target = target.ok_or_else(|| format!("`{read}` is not a read of this tool"))?;
        for (name, text) in args {
            ensure(
                target.args.contains_key(name),
                &format!("`{name}` is not an argument of `{read}`"),
            )?;
            self.known(text, None)?;
        }
        Ok(())
    }

    fn inverse(&self, entry: &InverseEntry) -> Checked {
        let named = entry.tool.is_some() && entry.action.is_some();
        let reason = entry
            .irreversible
            .as_ref()
            .is_some_and(|reason| !reason.is_empty());
        ensure(
            named != reason && entry.tool.is_some() == entry.action.is_some(),
            "an inverse is an action, or a reason why there is none",
        )?;
        let results: BTreeSet<&str> = self
            .spec
            .commands
            .iter()
            .flat_map(|c| c.result.keys())
            .map(String::as_str)
            .collect();
        for text in entry.args.values().chain(entry.expect.values()) {
            match text.strip_prefix('$').and_then(|path| path.split_once('.')) {
                Some(("prior", name)) => {
                    let captured = self
                        .spec
                        .capture
                        .as_ref()
                        .is_some_and(|c| c.values.contains_key(name));
                    ensure(captured, &format!("`$prior.{name}` is not captured"))?;
                }
                Some(("result", name)) => {
                    ensure(results.contains(name), &format!("`$result.{name}` is no result"))?;
                }
                Some(_) => return Err(format!("`{text}` is neither prior nor result")),
                None => self.known(text, None)?,
            }
        }
        Ok(())
    }
}

fn one_way(value: &ValueSpec) -> Checked {
    let ways = [
        value.pointer.is_some(),
        value.prefix.is_some(),
        value.contains.is_some(),
    ];
    ensure(
        ways.into_iter().filter(|way| *way).count() == 1,
        "a value has exactly one of pointer, prefix and contains",
    )
}

fn ensure(holds: bool, problem: &str) -> Checked {
    if holds { Ok(()) } else { Err(problem.to_owned()) }
}
