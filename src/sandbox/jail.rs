//! The place in which the commands of one job run: the init's private root, or a folder under the scratch folder.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{
    enter::write_private,
    init_stage::SWEEP,
    job::Profile,
    kill::kill_descendants,
    root::JOB_DIR,
    stage,
    wire::{InitReply, InitRequest, Refusal, Reply, Request, checked_length, frame},
};

/// How long the init may take for anything.
const INIT_TIMEOUT: Duration = Duration::from_secs(20);

/// An open place. [`Jail::close`] ends everything in it and wipes its files.
#[derive(Debug)]
pub(super) struct Jail {
    pub(super) job_dir: PathBuf,
    init: Option<Init>,
}

#[derive(Debug)]
struct Init {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Jail {
    /// Where the job's folder will be.
    pub(super) fn job_dir(request: &Request) -> PathBuf {
        if request.profile == Profile::Ns {
            return PathBuf::from(JOB_DIR);
        }
        request
            .scratch_dir
            .join(format!("carapulse-job-{}", request.nonce.simple()))
    }

    /// Builds the place, with the job's files in it.
    pub(super) async fn open(request: &Request, job_dir: PathBuf) -> Result<Self, Reply> {
        if request.profile == Profile::Ns {
            let init = Init::start(request).await?;
            return Ok(Self {
                job_dir,
                init: Some(init),
            });
        }
        let made = make_folder(&job_dir, request);
        let jail = Self { job_dir, init: None };
        if let Err(e) = made {
            let refusal = Refusal::new(
                "pod.scratch",
                format!("{}: {e}", jail.job_dir.display()),
                "set sandbox.scratch_dir to a folder that the commands' user may write",
            );
            jail.close().await;
            return Err(Reply::Refused(refusal));
        }
        Ok(jail)
    }

    /// The first process of the pid namespace, as the supervisor sees it.
    pub(super) fn init_pid(&self) -> Option<i32> {
        self.init.as_ref()?.child.id()?.try_into().ok()
    }

    /// Kills every process of the job.
    pub(super) async fn sweep(&mut self) -> io::Result<()> {
        match &mut self.init {
            Some(init) => init.sweep().await,
            None => kill_descendants().await,
        }
    }

    /// Kills every process of the job for good and wipes its files.
    pub(super) async fn close(self) {
        match self.init {
            Some(mut init) => {
                // The kernel kills the whole namespace with its first process, and frees the private root with the last.
                let _ = init.child.kill().await;
            }
            None => {
                let _ = kill_descendants().await;
                wipe(&self.job_dir);
            }
        }
    }
}

impl Init {
    async fn start(request: &Request) -> Result<Self, Reply> {
        let failed = |e: io::Error| Reply::NotStarted(format!("the init: {e}"));
        let mut child = Command::new(stage::SELF_EXE)
            .arg(stage::INIT)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(io::Error::other("no pipes")));
        };
        let mut init = Self { child, stdin, stdout };
        let order = InitRequest {
            files: request.files.clone(),
            mounts: request.mounts.clone(),
            tool_dirs: request.tool_dirs.clone(),
            file_bytes: request.limits.file_bytes,
        };
        let reply = timeout(INIT_TIMEOUT, init.order(&order)).await;
        match reply
            .unwrap_or_else(|_| Err(io::Error::other("no answer")))
            .map_err(failed)?
        {
            InitReply::Ready => Ok(init),
            InitReply::Refused(refusal) => Err(Reply::Refused(refusal)),
            InitReply::Failed(reason) => Err(Reply::NotStarted(reason)),
        }
    }

    async fn order(&mut self, order: &InitRequest) -> io::Result<InitReply> {
        self.stdin.write_all(&frame(order)?).await?;
        let mut length = [0; 4];
        self.stdout.read_exact(&mut length).await?;
        let mut json = vec![0; checked_length(length)?];
        self.stdout.read_exact(&mut json).await?;
        Ok(serde_json::from_slice(&json)?)
    }

    async fn sweep(&mut self) -> io::Result<()> {
        let done = async {
            self.stdin.write_all(&[SWEEP]).await?;
            self.stdout.read_u8().await
        };
        timeout(INIT_TIMEOUT, done).await.map_err(io::Error::other)??;
        Ok(())
    }
}

fn make_folder(job_dir: &Path, request: &Request) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(job_dir)?;
    for name in ["work", "home", "tmp"] {
        fs::create_dir(job_dir.join(name))?;
    }
    request
        .files
        .iter()
        .try_for_each(|file| write_private(&job_dir.join("work"), &file.path, &file.contents.0))
}

/// Overwrites and removes. Best effort: by now nothing of the job runs, and the folder is private.
fn wipe(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else {
            continue;
        };
        if meta.is_dir() {
            wipe(&entry.path());
        } else if meta.is_file()
            && let Ok(mut file) = fs::OpenOptions::new().write(true).open(entry.path())
        {
            let zeros = [0; 4096];
            let mut left = meta.len();
            while left > 0 {
                let piece = usize::try_from(left.min(4096)).unwrap_or(4096);
                if file.write_all(&zeros[..piece]).is_err() {
                    break;
                }
                left -= piece as u64;
            }
        }
    }
    let _ = fs::remove_dir_all(dir);
}
