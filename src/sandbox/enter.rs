//! The supervisor's way in: identity, namespaces, ties to its caller. Single-threaded, before any runtime exists.

use std::{
    fs,
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use nix::{
    fcntl::{OFlag, openat},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::Signal,
        stat::{Mode, umask},
    },
    unistd::{Gid, Uid, getegid, geteuid, getppid, setgroups, setresgid, setresuid},
};

use super::{
    job::{Mount, Profile},
    wire::{Refusal, Request},
};

/// `nobody`, whom a supervisor started by root becomes.
const NOBODY: u32 = 65534;

const NAMESPACES_REMEDY: &str = "allow user namespaces (user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, \
     kernel.unprivileged_userns_clone, the container's seccomp profile), or set sandbox.profile = \"pod\"";

/// Namespaces of profile `ns`, beside the mount namespace, which the init makes.
const NAMESPACES: &[(&str, CloneFlags)] = &[
    ("ns.user", CloneFlags::CLONE_NEWUSER),
    ("ns.pid", CloneFlags::CLONE_NEWPID),
    ("ns.net", CloneFlags::CLONE_NEWNET),
    ("ns.ipc", CloneFlags::CLONE_NEWIPC),
    ("ns.uts", CloneFlags::CLONE_NEWUTS),
];

/// Drops what the supervisor does not need and moves to its namespaces.
pub(super) fn enter(request: &Request) -> Result<(), Refusal> {
    prctl::set_no_new_privs().map_err(|e| Refusal::new("no_new_privs", e, "use Linux 3.5 or newer"))?;
    umask(Mode::from_bits_truncate(0o077));
    if let Some(cgroup) = &request.cgroup {
        fs::write(cgroup.join("cgroup.procs"), "0").map_err(|e| {
            Refusal::new(
                "cgroup",
                e,
                "delegate the configured cgroup to carapulse's user, or unset it",
            )
        })?;
    }
    drop_root(&request.mounts)?;
    if request.profile == Profile::Ns {
        enter_namespaces()?;
        sethostname()?;
        // Changes of credentials clear it, so it is set after them. Profile `pod` must clean up by itself and sees its
        // caller's death as the end of its standard input.
        prctl::set_pdeathsig(Signal::SIGKILL)
            .map_err(|e| Refusal::new("ns.pdeathsig", e, "use Linux 2.1.57 or newer"))?;
    } else {
        prctl::set_child_subreaper(true)
            .map_err(|e| Refusal::new("pod.subreaper", e, "use Linux 3.4 or newer"))?;
    }
    if getppid().as_raw() != request.caller_pid {
        return Err(Refusal::new(
            "caller",
            "the calling process is gone",
            "call again",
        ));
    }
    Ok(())
}

/// As root: becomes the owner of the first mounted folder, or nobody.
fn drop_root(mounts: &[Mount]) -> Result<(), Refusal> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let owner = mounts.first().and_then(|mount| fs::metadata(&mount.path).ok());
    let (uid, gid) = owner.map_or((NOBODY, NOBODY), |meta| (meta.uid(), meta.gid()));
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[])
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(|e| {
            Refusal::new(
                "user",
                e,
                "run carapulse as an ordinary user, or give root CAP_SETUID and CAP_SETGID",
            )
        })?;
    // The change made /proc/self unreadable to the process itself, which has to write its id maps there.
    prctl::set_dumpable(true).map_err(|e| Refusal::new("user", e, "run carapulse as an ordinary user"))
}

fn enter_namespaces() -> Result<(), Refusal> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    for (name, flag) in NAMESPACES {
        unshare(*flag).map_err(|e| Refusal::new(name, e, NAMESPACES_REMEDY))?;
        if *flag == CloneFlags::CLONE_NEWUSER {
            fs::File::open("/proc/self")
                .and_then(|proc_self| write_id_maps(&proc_self, (0, uid), (0, gid)))
                .map_err(|e| Refusal::new(name, e, NAMESPACES_REMEDY))?;
        }
    }
    Ok(())
}

fn sethostname() -> Result<(), Refusal> {
    nix::unistd::sethostname("sandbox").map_err(|e| Refusal::new("ns.uts", e, NAMESPACES_REMEDY))
}

/// Maps one user and one group, each given as (inside, outside); `proc_self` is `/proc/self`, open.
pub(super) fn write_id_maps(proc_self: impl AsFd, user: (u32, u32), group: (u32, u32)) -> io::Result<()> {
    let write = |name: &str, text: String| {
        let file = openat(
            &proc_self,
            name,
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        fs::File::from(file).write_all(text.as_bytes())
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{} {} 1", user.0, user.1))?;
    write("gid_map", format!("{} {} 1", group.0, group.1))
}

/// Closes every descriptor but the standard three: nothing of the caller may be inherited.
pub(super) fn close_inherited() -> io::Result<()> {
    let names: Vec<_> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    for fd in names
        .iter()
        .filter_map(|name| name.parse::<i32>().ok())
        .filter(|fd| *fd > 2)
    {
        // The listing's own descriptor is in it and is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Writes a file that only its owner reads, and its folders.
pub(super) fn write_private(base: &Path, relative: &str, contents: &[u8]) -> io::Result<()> {
    let path = base.join(relative);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(contents)
}
