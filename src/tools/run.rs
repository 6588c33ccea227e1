//! Runs commands in the sandbox, or a form through the connector, and says what is certain about the end.

use secrecy::{ExposeSecret, SecretSlice};
use uuid::Uuid;

use super::{
    Fault,
    argv::{fill, present},
    catalog::{ActionDef, ExitMeaning, HttpSpec, Values},
    place::Binding,
};
use crate::{
    connectors::{Http, HttpLimits},
    domain::{SecretRef, plan::Args},
    sandbox::{self, Command, CommandOutcome, Exit, Job, JobFile, Limits, Runner},
};

/// Largest file that a command may write: a clone of a big repository fits.
const FILE_BYTES: u64 = 1 << 30;

/// Runs `commands` of `def`. Every command's end is in the answer; an error means that the sandbox has none.
pub(crate) async fn commands(
    runner: &Runner,
    def: &ActionDef,
    nonce: Uuid,
    commands: Vec<Command>,
    binding: &Binding,
    args: &Args,
    values: &Values,
) -> Result<Vec<CommandOutcome>, Fault> {
    let mut job = Job::new(nonce, commands);
    job.env = def.env.clone();
    job.env.extend(binding.env.clone());
    job.files = binding.files.clone();
    job.files.extend(files(def, args, values, binding)?);
    job.mounts = binding.mounts.clone();
    job.egress = binding.egress.clone();
    job.limits = Limits {
        timeout_secs: def.timeout_secs,
        output_bytes: def.output_bytes,
        file_bytes: FILE_BYTES,
        cpu_secs: def.timeout_secs,
        ..Limits::default()
    };
    let outcome = runner.run(job).await.map_err(|error| sandbox_fault(&error))?;
    Ok(outcome.commands)
}

fn files(def: &ActionDef, args: &Args, values: &Values, binding: &Binding) -> Result<Vec<JobFile>, Fault> {
    let mut files = Vec::with_capacity(def.spec.files.len());
    for spec in &def.spec.files {
        let (bytes, secret) = match (&spec.text, &spec.secret) {
            (Some(text), _) => (fill(text, values)?.into_bytes(), false),
            (None, Some(arg)) => match args.get(arg).and_then(|value| value.as_str()) {
                Some(reference) => (secret(reference, binding)?, true),
                None => continue,
            },
            (None, None) => continue,
        };
        files.push(JobFile {
            path: spec.path.clone(),
            contents: SecretSlice::from(bytes),
            secret,
        });
    }
    Ok(files)
}

fn secret(reference: &str, binding: &Binding) -> Result<Vec<u8>, Fault> {
    let reference: SecretRef = reference
        .parse()
        .map_err(|e: crate::domain::SecretRefError| Fault::refused("credential_refused", e.to_string()))?;
    let nothing = || Fault::refused("credential_refused", "the place of this action grants no secrets");
    let grants = binding.grants.as_ref().ok_or_else(nothing)?;
    let text = grants
        .secret(&reference)
        .map_err(|e| Fault::refused("credential_refused", e.to_string()))?;
    Ok(text.expose_secret().as_bytes().to_vec())
}

fn sandbox_fault(error: &sandbox::Error) -> Fault {
    let message = error.to_string();
    if !error.nothing_started() {
        return Fault::unclear("sandbox_lost", message);
    }
    match error {
        sandbox::Error::Busy | sandbox::Error::NotStarted(_) => {
            Fault::unavailable("sandbox_unavailable", message)
        }
        _ => Fault::refused("sandbox_refused", message),
    }
}

/// Posts the form of `def`; the whole body of a good answer.
pub(crate) async fn http(
    def: &ActionDef,
    spec: &HttpSpec,
    binding: &Binding,
    args: &Args,
    values: &Values,
) -> Result<String, Fault> {
    let base = binding.prometheus_url.as_deref().unwrap_or_default();
    let limits = HttpLimits {
        timeout: std::time::Duration::from_secs(def.timeout_secs.into()),
        max_body_bytes: def.output_bytes,
    };
    let client =
        Http::new("prometheus", base, None, limits).map_err(|e| Fault::refused("address", e.to_string()))?;
    let mut form = Vec::with_capacity(spec.form.len());
    for field in &spec.form {
        if field.when_present.as_ref().is_none_or(|name| present(args, name)) {
            form.push((field.name.as_str(), fill(&field.value, values)?));
        }
    }
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, body) = client
        .post_form(&spec.path, &form)
        .await
        .map_err(|e| Fault::unavailable("unreachable", e.to_string()))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if (200..300).contains(&status) {
        Ok(body)
    } else {
        Err(Fault::failed(format!("http_{status}"), first_line(&body)))
    }
}

/// The first command that did not end well: its index and what is known. `None` when all did.
pub(crate) fn failure(def: &ActionDef, outcomes: &[CommandOutcome]) -> Option<(usize, Fault)> {
    let failed = outcomes.iter().enumerate().find_map(|(index, outcome)| {
        let fault = match outcome.exit {
            Exit::Code(0) => return None,
            Exit::Code(code) => exit_fault(def, code, outcome)?,
            Exit::Signal(signal) => Fault::failed(format!("signal_{signal}"), said(outcome)),
            Exit::TimedOut => {
                Fault::unavailable("timed_out", format!("no end within {} s", def.timeout_secs))
            }
            Exit::NotStarted => Fault::refused("not_started", said(outcome)),
        };
        Some((index, fault))
    });
    let expected = def.spec.commands.len();
    failed.or_else(|| {
        let short = outcomes.len() < expected;
        short.then(|| {
            (
                outcomes.len(),
                Fault::failed("not_all_ran", "the sandbox did not try every command"),
            )
        })
    })
}

fn exit_fault(def: &ActionDef, code: i32, outcome: &CommandOutcome) -> Option<Fault> {
    let name = format!("exit_{code}");
    match def.spec.exit_codes.get(&code.to_string()) {
        Some(ExitMeaning::Ok) => None,
        Some(ExitMeaning::Retry) => Some(Fault::unavailable(name, said(outcome))),
        Some(ExitMeaning::Failed) | None => Some(Fault::failed(name, said(outcome))),
    }
}

/// The last line of its standard error, or of its output: what tools say last is why they stopped.
fn said(outcome: &CommandOutcome) -> String {
    let last = |text: &str| {
        text.lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .map(str::to_owned)
    };
    let line = last(&outcome.stderr).or_else(|| last(&outcome.stdout));
    line.map_or_else(
        || "it said nothing".to_owned(),
        |line| line.chars().take(300).collect(),
    )
}

fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::catalog::Catalog;

    fn ended(exit: Exit, stderr: &str) -> CommandOutcome {
        CommandOutcome {
            exit,
            stdout: String::new(),
            stderr: stderr.into(),
            truncated: false,
            duration_ms: 1,
        }
    }

    #[test]
    fn the_first_bad_end_counts_and_a_missing_command_is_one() {
        let catalog = Catalog::builtin();
        let log = catalog.action("git", "log").expect("built in");
        let good = ended(Exit::Code(0), "");
        assert_eq!(failure(log, &[good.clone(), good.clone()]), None);
        let (index, fault) =
            failure(log, &[good.clone(), ended(Exit::Code(128), "warn\nfatal: bad\n")]).expect("bad");
        assert_eq!(
            (index, fault.code.as_str(), fault.message.as_str()),
            (1, "exit_128", "fatal: bad")
        );
        assert_eq!(failure(log, &[good]).expect("short").1.code, "not_all_ran");
        assert_eq!(
            failure(log, &[ended(Exit::TimedOut, "")]).expect("late").1.code,
            "timed_out"
        );
    }
}
