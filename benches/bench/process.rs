//! Processes: entering the sandbox, starting everything, resting, and how large the executable is.

use std::{
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use carapulse::{
    config::Secrets,
    domain::{Actor, OpCtx},
    sandbox::{self, Job, LocalConfig, Runner},
    store::DbRole,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    http::free_port,
    limits::Limits,
    measure::{Effort, count, micros, percentile},
    server::{CARAPULSE, Database, Folder},
    table::{Line, Reach, Table},
};

/// `/bin/true` in the sandbox, from the call to its outcome.
pub async fn sandbox(effort: Effort, limits: &Limits, table: &mut Table) -> anyhow::Result<()> {
    let runner = Runner::local(LocalConfig {
        executable: CARAPULSE.into(),
        ..LocalConfig::default()
    });
    let ctx = OpCtx::new(Actor::system("bench"), "default".parse()?, "bench");
    let mut times = Vec::new();
    for run in 0..=effort.rounds * 20 {
        let job = Job::new(ctx.id(), vec![sandbox::Command::new(["/bin/true"])]);
        let began = Instant::now();
        let outcome = runner.run(job).await?;
        anyhow::ensure!(
            outcome.succeeded(),
            "/bin/true failed in the sandbox: {outcome:?}"
        );
        if run > 0 {
            times.push(micros(began.elapsed()) / 1000.0);
        }
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    table.add(
        Line::new("sandbox: enter, run /bin/true, leave", p50, "ms")
            .limit("fork, exec, wait", limits.exec_ms)
            .reach(Reach::AtMost(10.0))
            .note(format!("p99 {p99:.1} ms")),
    );
    Ok(())
}

/// Roles as a process of their own, on a database that is there.
pub struct Serving {
    child: Child,
    /// Port of the first role.
    pub port: u16,
    ports: Vec<u16>,
    log: PathBuf,
}

impl Serving {
    /// Starts roles: all together when none is named. `router` is where a tool-router listens, when this process has none.
    pub fn start(
        database: &Database,
        folder: &Path,
        roles: &[&str],
        router: Option<u16>,
    ) -> anyhow::Result<Self> {
        let all = [free_port()?, free_port()?, free_port()?, free_port()?];
        let data = folder.join("data");
        Secrets::in_folder(data.join("secrets")).make_missing()?;
        let address = |role| database.address(role).expose().to_owned();
        let text = format!(
            "data_dir = {data:?}\n[database.gateway]\nurl = {:?}\n[database.orchestrator]\nurl = {:?}\n[database.tool_router]\nurl = {:?}\n\
             [database.sequencer]\nurl = {:?}\n[log]\nformat = \"json\"\n[gateway]\nhttp_addr = \"127.0.0.1:{}\"\n\
             [tool_router]\nhttp_addr = \"127.0.0.1:{}\"\nbase_url = \"http://127.0.0.1:{}\"\n[orchestrator]\nhealth_addr = \"127.0.0.1:{}\"\n\
             [agent]\nhttp_addr = \"127.0.0.1:{}\"\ngateway_url = \"http://127.0.0.1:{}\"\n",
            address(DbRole::Gateway),
            address(DbRole::Orchestrator),
            address(DbRole::Router),
            address(DbRole::Sequencer),
            all[0],
            all[1],
            router.unwrap_or(all[1]),
            all[2],
            all[3],
            all[0],
        );
        let config = folder.join(format!("serve-{}.toml", all[0]));
        std::fs::write(&config, text)?;
        let log = config.with_extension("log");
        let mut command = Command::new(CARAPULSE);
        command.arg("--config").arg(&config).arg("serve").env_clear();
        for role in roles {
            command.args(["--role", role]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let ports = if roles.is_empty() {
            all.to_vec()
        } else {
            vec![all[0]]
        };
        Ok(Self {
            child,
            port: all[0],
            ports,
            log,
        })
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until every role's `/readyz` says yes.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        for port in self.ports.clone() {
            while !is_ready(port).await {
                if let Some(status) = self.child.try_wait()? {
                    anyhow::bail!(
                        "carapulse serve: {status}: {}",
                        std::fs::read_to_string(&self.log)?
                    );
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    }

    fn rss_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if let Err(error) = self.child.wait() {
            eprintln!("carapulse serve could not be waited for: {error}");
        }
    }
}

/// All roles in one process: time until ready, memory at rest, size of the file.
pub async fn start_up(
    effort: Effort,
    database: &Database,
    folder: &Folder,
    table: &mut Table,
) -> anyhow::Result<()> {
    let (mut times, mut memory) = (Vec::new(), 0.0);
    for run in 0..=effort.rounds {
        let began = Instant::now();
        let mut serving = Serving::start(database, folder.path(), &[], None)?;
        serving.ready().await?;
        if run > 0 {
            times.push(micros(began.elapsed()) / 1000.0);
        }
        if run == effort.rounds {
            tokio::time::sleep(Duration::from_secs(3)).await;
            memory = serving.rss_mib()?;
        }
    }
    let slowest = percentile(&mut times, 100);
    table.add(
        Line::new(
            "serve, all roles: start to ready",
            percentile(&mut times, 50),
            "ms",
        )
        .reach(Reach::AtMost(300.0))
        .note(format!("slowest of {} {slowest:.0} ms", times.len())),
    );
    table.add(
        Line::new("serve, all roles: resident memory at rest", memory, "MiB").reach(Reach::AtMost(60.0)),
    );
    let stripped = folder.path().join("carapulse-stripped");
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(CARAPULSE)
        .status();
    let (file, how) = match strip {
        Ok(status) if status.success() => (stripped, "stripped"),
        _ => (PathBuf::from(CARAPULSE), "with symbols: `strip` is not here"),
    };
    let bytes = usize::try_from(file.metadata()?.len())?;
    let line = Line::new("executable", count(bytes) / 1024.0 / 1024.0, "MiB");
    table.add(line.reach(Reach::AtMost(80.0)).note(how));
    Ok(())
}

async fn is_ready(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}
