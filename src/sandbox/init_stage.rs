//! The init: first process of the pid namespace. Builds the private root, reaps, and on a byte of its standard input kills
//! everything in the namespace but itself. When it ends, the kernel kills the whole namespace.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    path::Path,
    process::ExitCode,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{Signal, kill},
        stat::{Mode, umask},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use tokio::{io::AsyncReadExt, net::unix::pipe, signal::unix::SignalKind};

use super::{
    enter::write_private,
    root,
    wire::{InitReply, InitRequest, Refusal, read_frame, write_frame},
};

/// Asks the init to kill every other process of the namespace; it answers with the same byte.
pub(super) const SWEEP: u8 = b's';

pub(super) fn main() -> ExitCode {
    match set_up().and_then(|()| serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn set_up() -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    umask(Mode::from_bits_truncate(0o077));
    let request: InitRequest = read_frame(File::from(io::stdin().as_fd().try_clone_to_owned()?))?;
    let reply = match build(&request) {
        Ok(()) => InitReply::Ready,
        Err(reply) => reply,
    };
    // Neither the files that passed through here nor the namespaces are for others of this user to look into.
    prctl::set_dumpable(false)?;
    write_frame(io::stdout().lock(), &reply)?;
    match reply {
        InitReply::Ready => Ok(()),
        _ => Err(io::Error::other("no private root")),
    }
}

fn build(request: &InitRequest) -> Result<(), InitReply> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| {
        InitReply::Refused(Refusal::new(
            "ns.mount",
            e,
            "allow mount namespaces, or set sandbox.profile = \"pod\"",
        ))
    })?;
    root::build(request).map_err(InitReply::Refused)?;
    let job_dir = Path::new(root::JOB_DIR);
    for file in &request.files {
        write_private(&job_dir.join("work"), &file.path, &file.contents.0)
            .map_err(|e| InitReply::Failed(format!("file {}: {e}", file.path)))?;
    }
    Ok(())
}

fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let mut ended = tokio::signal::unix::signal(SignalKind::child())?;
        let mut orders = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
        let mut order = [0; 1];
        loop {
            tokio::select! {
                read = orders.read(&mut order) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    sweep()?;
                    io::stdout().lock().write_all(&[SWEEP])?;
                    io::stdout().lock().flush()?;
                }
                _ = ended.recv() => reap(),
            }
        }
    })
}

/// Kills all but the init itself. New processes cannot slip through: the kernel holds its process list while it signals.
fn sweep() -> io::Result<()> {
    match kill(Pid::from_raw(-1), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {
            reap();
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status.pid().is_none() {
            break;
        }
    }
}
