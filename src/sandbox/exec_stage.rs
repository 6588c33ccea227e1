//! The stage that becomes the command: joins the private root, gives up every capability, puts on Landlock, rlimits and
//! seccomp, reports on stderr in one line, and executes the argument vector.

use std::{
    fs::File,
    io::{self, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    process::ExitCode,
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::{
        prctl,
        signal::Signal,
        stat::{Mode, umask},
    },
    unistd::{chdir, geteuid},
};

use super::{
    confine,
    enter::write_id_maps,
    filter,
    job::{LayerState, Profile},
    wire::{ExecReport, ExecRequest, Refusal, read_frame},
};

/// The user that commands see themselves as, in profile `ns`.
const JOB_USER: u32 = 1000;

/// Exit code of this stage itself; the report on stderr tells it from a command's own.
pub(super) const EXIT_CODE: u8 = 125;

pub(super) fn main() -> ExitCode {
    // Read without buffering: what follows the frame is the command's standard input.
    let request = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stdin| read_frame::<ExecRequest>(File::from(stdin)));
    let Ok(request) = request else {
        return ExitCode::from(EXIT_CODE);
    };
    let report = match confine(&request) {
        Ok(layers) => ExecReport::Confined(layers),
        Err(refusal) => ExecReport::Refused(refusal),
    };
    let confined = matches!(report, ExecReport::Confined(_));
    if say(&request.token, &report).is_err() || !confined || request.probe {
        return ExitCode::from(EXIT_CODE);
    }
    let failed = become_command(&request);
    let _ = say(&request.token, &ExecReport::Failed(failed));
    ExitCode::from(EXIT_CODE)
}

fn say(token: &str, report: &ExecReport) -> io::Result<()> {
    let line = format!("{token} {}\n", serde_json::to_string(report)?);
    io::stderr().write_all(line.as_bytes())
}

fn confine(request: &ExecRequest) -> Result<Vec<LayerState>, Refusal> {
    umask(Mode::from_bits_truncate(0o077));
    if request.profile == Profile::Ns {
        join_root(request)?;
        give_up_capabilities()?;
    } else if geteuid().is_root() {
        return Err(Refusal::new(
            "pod.user",
            "commands would run as root",
            "run carapulse as an ordinary user",
        ));
    }
    chdir(&request.job_dir.join("work"))
        .map_err(|e| Refusal::new("job_dir", e, "check the sandbox's scratch folder"))?;
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|e| Refusal::new("pdeathsig", e, "use Linux 2.1.57 or newer"))?;
    Ok(vec![
        confine::landlock(request)?,
        confine::rlimits(&request.limits)?,
        filter::seccomp(request.profile)?,
    ])
}

fn join_root(request: &ExecRequest) -> Result<(), Refusal> {
    let refused = |e: io::Error| Refusal::new("ns.mount", e, "set sandbox.profile = \"pod\"");
    let init = request
        .init_pid
        .ok_or_else(|| refused(io::Error::other("no init")))?;
    let root = File::open(format!("/proc/{init}/ns/mnt")).map_err(refused)?;
    let proc_self = File::open("/proc/self").map_err(refused)?;
    setns(root, CloneFlags::CLONE_NEWNS).map_err(|e| refused(e.into()))?;
    // A user namespace below the one that owns the mounts, as somebody who is not root in it: execve then drops every
    // capability, and nothing in here can give one back over the mounts, the network or the pids.
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| refused(e.into()))?;
    write_id_maps(&proc_self, (JOB_USER, 0), (JOB_USER, 0)).map_err(refused)
}

/// Already given up by the nested user namespace; checked, not assumed: the process must not be root in it.
fn give_up_capabilities() -> Result<(), Refusal> {
    if geteuid().as_raw() == JOB_USER {
        return Ok(());
    }
    Err(Refusal::new(
        "ns.user",
        "the nested user namespace has no map",
        "set sandbox.profile = \"pod\"",
    ))
}

/// Returns only when the program cannot be executed, with the reason.
fn become_command(request: &ExecRequest) -> String {
    let Some((program, arguments)) = request.argv.split_first() else {
        return "no program".to_owned();
    };
    let error = std::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&request.env)
        .exec();
    format!("{program}: {error}")
}
