//! The folder of an embedded server: taking it, and reading what the server left in it.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};

use super::{Error, Settings, account::Account, io, is_alive};

/// An owned (or only looked at) folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) socket: PathBuf,
    /// Held for as long as we own it.
    _lock: Option<fs::File>,
}

impl Folder {
    /// Makes the folder and takes its lock.
    pub(super) fn take(settings: &Settings, account: &Account) -> Result<Self, Error> {
        // Postgres' user must get through the folder, and sees nothing in it but what is its own.
        let mode = if account.drop_to().is_some() { 0o711 } else { 0o700 };
        make(&settings.folder, mode, None)?;
        let root = fs::canonicalize(&settings.folder).map_err(io(settings.folder.display()))?;
        reachable(&root, account)?;
        let lock = lock(&root)?;
        let socket = socket_folder(&root);
        make(&socket, 0o700, Some(account))?;
        Ok(Self {
            root,
            socket,
            _lock: Some(lock),
        })
    }

    /// The folder of somebody else's server.
    pub(super) fn look(settings: &Settings) -> Result<Self, Error> {
        let root = fs::canonicalize(&settings.folder).map_err(io(settings.folder.display()))?;
        Ok(Self {
            socket: socket_folder(&root),
            root,
            _lock: None,
        })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    /// The major version that made the data; none when there is none yet.
    pub(super) fn major(&self) -> Result<Option<u32>, Error> {
        let file = self.data().join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| Error::Failed(format!("{} holds no version number", file.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(file.display())(error)),
        }
    }

    /// The process of a server that runs on this data, whoever started it. A pid file may be stale and its number taken
    /// by another process: a postmaster's working directory is its data folder.
    pub(super) fn live_postmaster(&self) -> Option<Pid> {
        let pid = Pid::from_raw(self.pid_file()?.lines().next()?.trim().parse().ok()?);
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (is_alive(pid) && works_in == self.data()).then_some(pid)
    }

    /// Whether connections are taken: the eighth line of the pid file.
    pub(super) fn is_ready(&self) -> bool {
        let ready = self
            .pid_file()
            .and_then(|text| text.lines().nth(7).map(|line| line.trim() == "ready"));
        ready.unwrap_or(false) && self.live_postmaster().is_some()
    }

    /// The end of the server's log.
    pub(super) fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = fs::File::open(self.log())?;
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(size.saturating_sub(1000)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        read().unwrap_or_default()
    }

    fn pid_file(&self) -> Option<String> {
        fs::read_to_string(self.data().join("postmaster.pid")).ok()
    }
}

/// Makes a folder with this mode, for this user; one that exists must already be so.
pub(super) fn make(path: &Path, mode: u32, account: Option<&Account>) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(io(parent.display()))?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // The umask may have taken more away than is wanted.
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io(path.display()))?;
            if let Some((uid, gid)) = account.and_then(Account::drop_to) {
                std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(io(path.display()))?;
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            account.map_or(Ok(()), |account| private_to(path, account))
        }
        Err(error) => Err(io(path.display())(error)),
    }
}

/// Somebody else's folder of the right name would give them our connections.
fn private_to(path: &Path, account: &Account) -> Result<(), Error> {
    let found = fs::symlink_metadata(path).map_err(io(path.display()))?;
    let uid = account
        .drop_to()
        .map_or_else(|| nix::unistd::geteuid().as_raw(), |(uid, _)| uid);
    if found.is_dir() && found.uid() == uid && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "{} must be a folder of user {uid} that nobody else can enter (mode 0700)",
        path.display()
    )))
}

/// Root's home is closed to others: Postgres' user could not reach a folder in it.
fn reachable(root: &Path, account: &Account) -> Result<(), Error> {
    if account.drop_to().is_none() {
        return Ok(());
    }
    for folder in root.ancestors() {
        let mode = fs::metadata(folder).map_err(io(folder.display()))?.mode();
        if mode & 0o001 == 0 {
            return Err(Error::Failed(format!(
                "Postgres does not run as root, and its user cannot get through {}: choose a data folder elsewhere, \
                 such as /var/lib/carapulse",
                folder.display()
            )));
        }
    }
    Ok(())
}

fn lock(root: &Path) -> Result<fs::File, Error> {
    let path = root.join("lock");
    let mut file = fs::File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(io(path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            return Err(Error::InUse {
                folder: root.display().to_string(),
                pid: pid.trim().to_owned(),
            });
        }
        Err(fs::TryLockError::Error(error)) => return Err(io(path.display())(error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(io(path.display()))?;
    Ok(file)
}

/// A socket's path has at most 107 bytes: a deep folder's socket lies in a short one.
fn socket_folder(root: &Path) -> PathBuf {
    let beside = root.join("run");
    if beside.as_os_str().len() + "/.s.PGSQL.5432.lock".len() <= 100 {
        return beside;
    }
    let name = hex::encode(&Sha256::digest(root.as_os_str().as_encoded_bytes())[..8]);
    std::env::temp_dir().join(format!("carapulse-{name}"))
}
