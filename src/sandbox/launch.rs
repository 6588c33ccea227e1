//! Starts a supervisor and hears it out.

use std::{io, path::PathBuf, process::Stdio, sync::LazyLock, sync::mpsc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    Error, Outcome, Profile, stage,
    wire::{Refusal, Reply, Request, checked_length, frame},
};

/// Beyond a job's own time: setting up, killing, wiping.
const MARGIN: Duration = Duration::from_secs(60);

/// How to start a supervisor.
pub(super) struct Launch {
    pub(super) executable: PathBuf,
    pub(super) profile: Profile,
    /// The job's own time.
    pub(super) time: Duration,
}

/// Runs one supervisor to its end.
pub(super) async fn launch(options: Launch, request: Request) -> Result<Outcome, Error> {
    let not_started = |e: io::Error| Error::NotStarted(format!("the supervisor: {e}"));
    let began = Instant::now();
    let bytes = frame(&request).map_err(not_started)?;
    let mut child = spawn(command(&options)).await.map_err(not_started)?;
    let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(not_started(io::Error::other("no pipes")));
    };
    let mut started = false;
    let talk = async {
        stdin.write_all(&bytes).await.map_err(not_started)?;
        loop {
            match read_reply(&mut stdout).await {
                Ok(Reply::Started) => {
                    started = true;
                    metrics::histogram!("carapulse_sandbox_entry_seconds")
                        .record(began.elapsed().as_secs_f64());
                }
                Ok(reply) => return finished(reply),
                Err(e) if started => return Err(Error::Lost(format!("the supervisor went away: {e}"))),
                Err(e) => return Err(not_started(e)),
            }
        }
    };
    let result = timeout(options.time + MARGIN, talk).await;
    // Standard input stays open until here: its end is what tells the supervisor that nobody waits any more.
    drop(stdin);
    if timeout(MARGIN, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    result.unwrap_or_else(|_| {
        let why = "the supervisor did not answer in time".to_owned();
        Err(if started {
            Error::Lost(why)
        } else {
            Error::NotStarted(why)
        })
    })
}

fn command(options: &Launch) -> Command {
    let mut command = Command::new(&options.executable);
    command
        .arg(stage::SUPERVISOR)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // In profile `pod` the supervisor has to kill the job's processes itself, when its standard input ends.
        .kill_on_drop(options.profile != Profile::Pod);
    command
}

fn finished(reply: Reply) -> Result<Outcome, Error> {
    match reply {
        Reply::Finished { commands, layers } => {
            let started = commands.iter().any(|c| c.exit != super::Exit::NotStarted);
            Ok(Outcome {
                commands,
                layers,
                started,
            })
        }
        Reply::Refused(Refusal {
            layer,
            reason,
            remedy,
        }) => Err(Error::Refused {
            layer,
            reason,
            remedy,
        }),
        Reply::NotStarted(reason) => Err(Error::NotStarted(reason)),
        Reply::Started => Err(Error::Lost("the supervisor started twice".to_owned())),
    }
}

async fn read_reply<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Reply> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut json = vec![0; checked_length(length)?];
    from.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

type Order = (Command, Handle, oneshot::Sender<io::Result<Child>>);

/// One thread that lives as long as the process starts every supervisor: the kernel sends a child its parent-death signal
/// when the *thread* that started it ends, and the runtime's threads come and go.
static SPAWNER: LazyLock<io::Result<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (sender, orders) = mpsc::channel::<Order>();
    std::thread::Builder::new()
        .name("sandbox-spawner".to_owned())
        .spawn(move || {
            while let Ok((mut command, runtime, answer)) = orders.recv() {
                let _entered = runtime.enter();
                let _ = answer.send(command.spawn());
            }
        })?;
    Ok(sender)
});

async fn spawn(command: Command) -> io::Result<Child> {
    let (answer, spawned) = oneshot::channel();
    let sender = SPAWNER.as_ref().map_err(|e| io::Error::other(e.to_string()))?;
    sender
        .send((command, Handle::current(), answer))
        .map_err(io::Error::other)?;
    spawned.await.map_err(io::Error::other)?
}
