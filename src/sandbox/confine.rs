//! Landlock and rlimits: put on by the stage that then becomes the command.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{
    job::{LayerState, Limits, Profile},
    root::{DEVICES, ETC, PROGRAMS},
    wire::{ExecRequest, Refusal},
};

/// Older kernels cannot confine truncation.
const FILES: ABI = ABI::V3;
/// Older kernels cannot confine TCP.
const PORTS: ABI = ABI::V4;
/// Taken where the kernel has it.
const NEWEST: ABI = ABI::V7;

/// Confines the calling process to the job's folder, the system's programs and the job's mounts; in profile `pod` also to
/// the forwarder's port.
pub(super) fn landlock(request: &ExecRequest) -> Result<LayerState, Refusal> {
    let pod = request.profile == Profile::Pod;
    let name = if pod { "pod.landlock" } else { "ns.landlock" };
    let remedy = if pod {
        "use Linux 6.7 or newer with landlock among the active LSMs"
    } else {
        "use Linux 6.2 or newer with landlock among the active LSMs (boot parameter lsm=)"
    };
    let status = restrict(request, pod).map_err(|e| Refusal::new(name, e, remedy))?;
    if status == RulesetStatus::NotEnforced {
        return Err(Refusal::new(name, "the kernel did not enforce it", remedy));
    }
    let scope = if pod { "files and TCP ports" } else { "files" };
    Ok(LayerState {
        name: name.to_owned(),
        active: true,
        detail: format!("{scope}, {status:?}"),
    })
}

fn restrict(request: &ExecRequest, pod: bool) -> Result<RulesetStatus, landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(FILES))?;
    if pod {
        ruleset = ruleset.handle_access(AccessNet::from_all(PORTS))?;
    }
    let ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let mut ruleset = allow_files(ruleset, request, pod)?;
    if let (true, Some(port)) = (pod, request.proxy_port) {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

fn allow_files(
    mut ruleset: RulesetCreated,
    request: &ExecRequest,
    pod: bool,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let execute = read | AccessFs::Execute;
    let write = AccessFs::from_all(NEWEST) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
    let mut paths: Vec<(PathBuf, BitFlags<AccessFs>)> = Vec::new();
    paths.extend(PROGRAMS.iter().map(|p| (PathBuf::from(p), execute)));
    paths.extend(request.tool_dirs.iter().map(|p| (p.clone(), execute)));
    paths.extend(
        DEVICES
            .iter()
            .map(|p| (PathBuf::from(p), AccessFs::ReadFile | AccessFs::WriteFile)),
    );
    if pod {
        let more = [
            "/etc/passwd",
            "/etc/group",
            "/etc/nsswitch.conf",
            "/etc/hosts",
            "/etc/resolv.conf",
        ];
        paths.extend(ETC.iter().chain(&more).map(|p| (PathBuf::from(p), read)));
    } else {
        paths.extend(["/etc", "/proc"].map(|p| (PathBuf::from(p), read)));
        paths.push((PathBuf::from("/tmp"), write));
    }
    paths.push((request.job_dir.clone(), write));
    paths.extend(
        request
            .mounts
            .iter()
            .map(|m| (m.path.clone(), if m.writable { write } else { read })),
    );
    for (path, access) in paths {
        // What the machine does not have needs no rule.
        if let Ok(fd) = PathFd::new(&path) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, fitting(&path, access)))?;
        }
    }
    Ok(ruleset)
}

/// Rights on folders make no sense for a file, and are refused there.
fn fitting(path: &Path, access: BitFlags<AccessFs>) -> BitFlags<AccessFs> {
    if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    }
}

/// Bounds the calling process and its children.
pub(super) fn rlimits(limits: &Limits) -> Result<LayerState, Refusal> {
    let bounds = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, 1024),
        (Resource::RLIMIT_CPU, u64::from(limits.cpu_secs)),
        (Resource::RLIMIT_FSIZE, limits.file_bytes),
        (Resource::RLIMIT_NPROC, u64::from(limits.processes)),
        (Resource::RLIMIT_MEMLOCK, 64 << 10),
        (Resource::RLIMIT_AS, limits.memory_bytes),
    ];
    for (resource, bound) in bounds {
        // A stricter hard limit of carapulse's own stands.
        getrlimit(resource)
            .and_then(|(_, hard)| setrlimit(resource, bound.min(hard), bound.min(hard)))
            .map_err(|e| {
                Refusal::new(
                    "rlimits",
                    format!("{resource:?}: {e}"),
                    "raise carapulse's own hard limits",
                )
            })?;
    }
    let detail = format!(
        "{} s CPU, {} bytes memory, {} processes",
        limits.cpu_secs, limits.memory_bytes, limits.processes
    );
    Ok(LayerState {
        name: "rlimits".to_owned(),
        active: true,
        detail,
    })
}
