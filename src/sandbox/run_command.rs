//! One command: start its stage, feed it, pump its output through the redactor, hold it to the deadline.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, Command},
    time::{Instant, timeout, timeout_at},
};

use super::{
    exec_stage,
    jail::Jail,
    job::{CommandOutcome, Exit, LayerState},
    redact::Redactor,
    stage,
    wire::{ExecReport, ExecRequest, Refusal, frame},
};

/// Between the friendly signal at the deadline and the certain one.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// How long output may take to end once every process is dead.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A command about to run.
pub(super) struct Run<'a> {
    pub(super) request: ExecRequest,
    pub(super) stdin: &'a [u8],
    pub(super) redactor: &'a Redactor,
    pub(super) deadline: Instant,
}

/// How it went.
pub(super) enum Ran {
    /// The stage could not confine itself; the command did not begin.
    Refused(Refusal),
    /// The command ended, or could not be executed; the layers that the stage put on.
    Ended(CommandOutcome, Vec<LayerState>),
}

#[derive(Default)]
struct Text {
    text: String,
    truncated: bool,
}

impl Run<'_> {
    /// Runs it to its end, and ends everything that it started.
    pub(super) async fn run(self, jail: &mut Jail) -> Ran {
        let began = Instant::now();
        match self.attempt(jail, began).await {
            Ok(ran) => ran,
            Err(e) => Ran::Refused(Refusal::new(
                "exec",
                e,
                "check the logs of the kernel and the limits of carapulse's user",
            )),
        }
    }

    async fn attempt(&self, jail: &mut Jail, began: Instant) -> std::io::Result<Ran> {
        let mut child = self.spawn()?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(std::io::Error::other("no pipes"));
        };
        stdin.write_all(&frame(&self.request)?).await?;
        let mut stderr = BufReader::new(stderr);
        let layers = match self.report(&mut stderr).await? {
            ExecReport::Confined(layers) => layers,
            ExecReport::Refused(refusal) => return Ok(Ran::Refused(refusal)),
            ExecReport::Failed(reason) => return Err(std::io::Error::other(reason)),
        };
        let cap = self.request.limits.output_bytes;
        let (mut out, mut err) = (Text::default(), Text::default());
        let (exit, ()) = {
            let pumps = async {
                tokio::join!(
                    feed(stdin, self.stdin),
                    pump(stdout, self.redactor, cap, &mut out),
                    pump(stderr, self.redactor, cap, &mut err)
                );
            };
            hold(&mut child, self.deadline, jail, pumps).await?
        };
        Ok(Ran::Ended(self.outcome(exit, out, err, began), layers))
    }

    fn spawn(&self) -> std::io::Result<Child> {
        Command::new(stage::SELF_EXE)
            .arg(stage::EXEC)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    /// The stage's line, which comes before anything that the command writes.
    async fn report(&self, stderr: &mut BufReader<ChildStderr>) -> std::io::Result<ExecReport> {
        let mut line = String::new();
        let read = async { (&mut *stderr).take(64 << 10).read_line(&mut line).await };
        timeout_at(self.deadline, read)
            .await
            .map_err(std::io::Error::other)??;
        self.reported(&line)
            .ok_or_else(|| std::io::Error::other("the stage ended without a report"))
    }

    fn reported(&self, line: &str) -> Option<ExecReport> {
        serde_json::from_str(line.strip_prefix(self.request.token.as_str())?.trim()).ok()
    }

    fn outcome(&self, exit: Exit, out: Text, mut err: Text, began: Instant) -> CommandOutcome {
        let mut exit = exit;
        if exit == Exit::Code(exec_stage::EXIT_CODE.into())
            && let Some(ExecReport::Failed(reason)) = self.reported(&err.text)
        {
            exit = Exit::NotStarted;
            err.text = reason;
        }
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let truncated = out.truncated || err.truncated;
        CommandOutcome {
            exit,
            stdout: out.text,
            stderr: err.text,
            truncated,
            duration_ms,
        }
    }
}

/// Waits for the command until the deadline, then kills all that is left of it, then lets the output end.
async fn hold<F: Future<Output = ()>>(
    child: &mut Child,
    deadline: Instant,
    jail: &mut Jail,
    pumps: F,
) -> std::io::Result<(Exit, ())> {
    let mut pumps = std::pin::pin!(pumps);
    let ended = async {
        match timeout_at(deadline, child.wait()).await {
            Ok(status) => Ok(exit_of(status?)),
            Err(_) => {
                terminate(child).await?;
                Ok(Exit::TimedOut)
            }
        }
    };
    let mut ended = std::pin::pin!(ended);
    let mut drained = false;
    let exit: std::io::Result<Exit> = loop {
        tokio::select! {
            exit = &mut ended => break exit,
            () = &mut pumps, if !drained => drained = true,
        }
    };
    jail.sweep().await?;
    if !drained {
        // Everybody who could write is dead: what is in the pipes is all there is.
        let _ = timeout(DRAIN_TIMEOUT, pumps).await;
    }
    Ok((exit?, ()))
}

async fn terminate(child: &mut Child) -> std::io::Result<()> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout(TERM_GRACE, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// A command need not read its input: a broken pipe is no error.
async fn feed(mut stdin: ChildStdin, bytes: &[u8]) {
    let _ = stdin.write_all(bytes).await;
    let _ = stdin.shutdown().await;
}

async fn pump<R: AsyncRead + Unpin>(mut from: R, redactor: &Redactor, cap: usize, into: &mut Text) {
    let mut stream = redactor.stream();
    let mut buffer = vec![0; 32 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if into.truncated {
            continue;
        }
        into.push(&stream.push(&buffer[..read]), cap);
    }
    into.push(&stream.finish(), cap);
}

impl Text {
    fn push(&mut self, text: &str, cap: usize) {
        if self.truncated {
            return;
        }
        let room = cap - self.text.len();
        if text.len() > room {
            self.truncated = true;
            self.text.push_str(&text[..text.floor_char_boundary(room)]);
        } else {
            self.text.push_str(text);
        }
    }
}
