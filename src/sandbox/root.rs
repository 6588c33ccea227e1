//! The private root of profile `ns`: an empty tree with the system's programs, a few files of `/etc`, the job's folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statvfs::{FsFlags, statvfs},
    unistd::{chdir, pivot_root},
};

use super::wire::{InitRequest, Refusal};

/// Where the job's folder is in the private root.
pub(super) const JOB_DIR: &str = "/job";

/// Where the host's tree stands while the private root is being built.
const HOST: &str = "/host";

/// The system's programs: read and executed, never written.
pub(super) const PROGRAMS: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"];

/// What programs read of `/etc`.
pub(super) const ETC: &[&str] = &[
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/localtime",
];

/// Devices without which programs fail.
pub(super) const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Files of `/etc` that are written anew instead of shown.
const MADE: &[(&str, &str)] = &[
    ("passwd", "job:x:1000:1000::/job/home:/usr/sbin/nologin\n"),
    ("group", "job:x:1000:\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("resolv.conf", ""),
];

const REMEDY: &str = "allow mounts in user namespaces (AppArmor, SELinux or the container's seccomp profile), or set sandbox.profile = \"pod\"";

/// Builds the root and moves to it. The calling process has its own mount namespace and all capabilities in it.
pub(super) fn build(request: &InitRequest) -> Result<(), Refusal> {
    let refused =
        |what: &'static str| move |e: io::Error| Refusal::new("ns.mount", format!("{what}: {e}"), REMEDY);
    take_over().map_err(refused("a new root"))?;
    for path in PROGRAMS
        .iter()
        .copied()
        .map(Path::new)
        .chain(request.tool_dirs.iter().map(PathBuf::as_path))
    {
        show(path, false).map_err(refused("the system's programs"))?;
    }
    etc().map_err(refused("/etc"))?;
    for device in DEVICES {
        show(Path::new(device), true).map_err(refused("/dev"))?;
    }
    proc().map_err(refused("/proc"))?;
    job_dir(request.file_bytes).map_err(refused("the job's folder"))?;
    for folder in &request.mounts {
        show(&folder.path, folder.writable).map_err(|e| {
            Refusal::new(
                "mount",
                format!("{}: {e}", folder.path.display()),
                "check the folder's path and owner",
            )
        })?;
    }
    leave_host().map_err(refused("the host's tree"))
}

/// Puts an empty file system in the place of `/`, with the host's tree under [`HOST`].
fn take_over() -> io::Result<()> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    let base = ["/tmp", "/run", "/mnt", "/usr"]
        .into_iter()
        .find(|p| Path::new(p).is_dir());
    let base = base.ok_or_else(|| io::Error::other("no folder to mount on"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("tmpfs"),
        base,
        Some("tmpfs"),
        flags,
        Some("mode=0755,size=4m"),
    )?;
    let host = format!("{base}{HOST}");
    fs::create_dir(&host)?;
    pivot_root(base, host.as_str())?;
    Ok(chdir("/")?)
}

fn leave_host() -> io::Result<()> {
    umount2(HOST, MntFlags::MNT_DETACH)?;
    fs::remove_dir(HOST)?;
    let flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?;
    Ok(())
}

/// Shows a path of the host at the same place; what the host does not have is left out, symbolic links stay links.
fn show(path: &Path, writable: bool) -> io::Result<()> {
    let source = Path::new(HOST).join(path.strip_prefix("/").map_err(io::Error::other)?);
    let Ok(meta) = fs::symlink_metadata(&source) else {
        return Ok(());
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if path.symlink_metadata().is_ok() && !meta.is_dir() {
        return Ok(());
    }
    if meta.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(&source)?, path);
    }
    if meta.is_dir() {
        fs::create_dir_all(path)?;
    } else {
        fs::write(path, "")?;
    }
    mount(
        Some(&source),
        path,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )?;
    if !meta.is_dir() {
        return Ok(());
    }
    // Flags that the host's mount has are locked: leaving one out would be refused.
    let mut flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | locked_flags(path)?;
    if !writable {
        flags |= MsFlags::MS_RDONLY;
    }
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?;
    Ok(())
}

fn locked_flags(path: &Path) -> io::Result<MsFlags> {
    let present = statvfs(path)?.flags();
    let pairs = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    Ok(pairs
        .into_iter()
        .filter(|(has, _)| present.contains(*has))
        .map(|(_, flag)| flag)
        .collect())
}

fn etc() -> io::Result<()> {
    fs::create_dir_all("/etc")?;
    for (name, text) in MADE {
        fs::write(Path::new("/etc").join(name), text)?;
    }
    for path in ETC {
        let source = format!("{HOST}{path}");
        if fs::metadata(&source).is_ok_and(|meta| meta.is_file()) {
            if let Some(parent) = Path::new(path).parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, fs::read(&source)?)?;
        } else {
            show(Path::new(path), false)?;
        }
    }
    open_up(Path::new("/etc"))
}

/// The umask made what was written here private; the commands run as another user of the inner namespace, but the same outside.
fn open_up(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
}

fn proc() -> io::Result<()> {
    fs::create_dir("/proc")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // A container that masks parts of /proc may not mount a whole one; programs do without.
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>);
    Ok(())
}

fn job_dir(file_bytes: u64) -> io::Result<()> {
    fs::create_dir(JOB_DIR)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // One page more a file than its bytes, and the folders themselves.
    let size = format!(
        "mode=0700,nr_inodes=65536,size={}",
        file_bytes.saturating_add(1 << 20)
    );
    mount(Some("tmpfs"), JOB_DIR, Some("tmpfs"), flags, Some(size.as_str()))?;
    for name in ["work", "home", "tmp"] {
        fs::create_dir(Path::new(JOB_DIR).join(name))?;
    }
    // For programs that do not ask for TMPDIR.
    fs::create_dir("/tmp")?;
    Ok(mount(
        Some("/job/tmp"),
        "/tmp",
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?)
}
