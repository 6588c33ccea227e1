//! Where the server lives and how careful it is.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Settings of one embedded server.
#[derive(Clone)]
pub struct Settings {
    /// The folder that it lives in.
    pub folder: PathBuf,
    /// For tests: nothing is flushed to the disk, and the folder goes when the server does.
    pub temporary: bool,
    /// The major of a new folder's data; none for the first usable one.
    pub(super) major: Option<u32>,
    /// Data of a major that is too old to serve is started all the same: to be upgraded.
    pub(super) any_age: bool,
    progress: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Settings {
    /// A lasting server in `folder`; what takes time is told to the log.
    #[must_use]
    pub fn lasting(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            temporary: false,
            major: None,
            any_age: false,
            progress: Arc::new(|line| tracing::info!(target: "carapulse::store::embedded", "{line}")),
        }
    }

    /// A server in a new folder of the system's temporary folder, for tests.
    #[must_use]
    pub fn temporary() -> Self {
        let name = format!("carapulse-pg-{:08x}", rand::random::<u32>());
        Self {
            temporary: true,
            ..Self::lasting(std::env::temp_dir().join(name))
        }
    }

    /// New data is of this major.
    #[must_use]
    pub fn of_major(self, major: u32) -> Self {
        Self {
            major: Some(major),
            ..self
        }
    }

    pub(super) fn of_any_age(self) -> Self {
        Self {
            any_age: true,
            ..self
        }
    }

    pub(super) fn in_folder(self, folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            ..self
        }
    }

    /// Tells what takes time to `progress`, a line each, instead of the log.
    #[must_use]
    pub fn with_progress(self, progress: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            progress: Arc::new(progress),
            ..self
        }
    }

    pub(super) fn say(&self, line: &str) {
        (self.progress)(line);
    }

    /// What the server is started with; the command line wins over the folder's own files.
    pub(super) fn server_settings(&self, socket: &Path) -> Vec<String> {
        let mut settings = vec![
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={}", socket.display()),
            "unix_socket_permissions=0700".to_owned(),
            "shared_memory_type=mmap".to_owned(),
            "max_connections=200".to_owned(),
            "shared_buffers=64MB".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            "logging_collector=off".to_owned(),
            "log_min_messages=warning".to_owned(),
        ];
        if self.temporary {
            let unsafe_but_fast = [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "autovacuum=off",
            ];
            settings.extend(unsafe_but_fast.map(str::to_owned));
        }
        settings
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("folder", &self.folder)
            .field("temporary", &self.temporary)
            .finish_non_exhaustive()
    }
}
