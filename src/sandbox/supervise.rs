//! The supervisor: one process for one job, between the caller and the commands.
//!
//! In: the job, on standard input, which stays open for as long as the caller lives. Out: replies on standard output, with
//! redacted text. Always holds: raw output ends here; when standard input ends, so does the job.

use std::{collections::BTreeMap, fs::File, io, os::fd::AsFd, path::Path, process::ExitCode, time::Duration};

use tokio::{io::AsyncReadExt, net::unix::pipe, time::Instant};

use super::{
    enter,
    forward::{self, Forwarder},
    jail::Jail,
    job::{CommandOutcome, Exit, LayerState, Profile},
    redact::Redactor,
    run_command::{Ran, Run},
    wire::{ExecRequest, Refusal, Reply, Request, read_frame, write_frame},
};

/// Stands for the forwarder's URL in files and variables.
const PROXY_PLACEHOLDER: &str = "{{egress_proxy}}";
/// Stands for the folder in which the commands run.
const DIR_PLACEHOLDER: &str = "{{job_dir}}";

pub(super) fn main() -> ExitCode {
    let request = enter::close_inherited()
        .and_then(|()| io::stdin().as_fd().try_clone_to_owned())
        .and_then(|stdin| read_frame::<Request>(File::from(stdin)));
    let reply = match request {
        Err(e) => Reply::NotStarted(format!("the job could not be read: {e}")),
        Ok(request) => match enter::enter(&request) {
            Err(refusal) => Reply::Refused(refusal),
            Ok(()) => block_on(request),
        },
    };
    match write_frame(io::stdout().lock(), &reply) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn block_on(request: Request) -> Reply {
    // One thread only: after unshare(CLONE_NEWPID) the kernel refuses a second one.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async { supervise(request).await.unwrap_or_else(|reply| reply) }),
        Err(e) => Reply::NotStarted(format!("the runtime: {e}")),
    }
}

async fn supervise(mut request: Request) -> Result<Reply, Reply> {
    let not_started = |what: &'static str| move |e: io::Error| Reply::NotStarted(format!("{what}: {e}"));
    let caller = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .and_then(pipe::Receiver::from_owned_fd);
    let mut caller = caller.map_err(not_started("standard input"))?;
    let forwarder = open_egress(&request).await?;
    let proxy_port = forwarder.as_ref().map(|forwarder| forwarder.port);
    let job_dir = Jail::job_dir(&request);
    fill_in(&mut request, &job_dir, proxy_port);
    let redactor = redactor(&request);
    let mut jail = Jail::open(&request, job_dir).await?;
    let reply = tokio::select! {
        reply = run_all(&request, &mut jail, proxy_port, &redactor) => reply,
        _ = caller.read_u8() => Reply::NotStarted("the caller is gone".to_owned()),
    };
    jail.close().await;
    Ok(reply)
}

async fn open_egress(request: &Request) -> Result<Option<Forwarder>, Reply> {
    let refused = |e: io::Error| {
        Reply::Refused(Refusal::new(
            "egress",
            e,
            "report this: loopback could not be used",
        ))
    };
    if request.profile == Profile::Ns {
        forward::bring_loopback_up().await.map_err(refused)?;
    }
    match &request.proxy_socket {
        Some(socket) => Forwarder::start(socket.clone()).await.map(Some).map_err(refused),
        None => Ok(None),
    }
}

/// Replaces the placeholders and completes the environment.
fn fill_in(request: &mut Request, job_dir: &Path, proxy_port: Option<u16>) {
    let proxy = proxy_port.map_or_else(String::new, |port| format!("http://127.0.0.1:{port}"));
    let work = job_dir.join("work").display().to_string();
    let fill = |text: &str| {
        text.replace(PROXY_PLACEHOLDER, &proxy)
            .replace(DIR_PLACEHOLDER, &work)
    };
    for file in &mut request.files {
        if let Ok(text) = std::str::from_utf8(&file.contents.0)
            && text.contains("{{")
        {
            file.contents.0 = fill(text).into_bytes();
        }
    }
    let mut env = base_env(request, job_dir);
    if !proxy.is_empty() {
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            env.insert(name.to_owned(), proxy.clone());
        }
    }
    env.extend(
        request
            .env
            .iter()
            .map(|(name, value)| (name.clone(), fill(value))),
    );
    request.env = env;
}

fn base_env(request: &Request, job_dir: &Path) -> BTreeMap<String, String> {
    let dir = |name: &str| job_dir.join(name).display().to_string();
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), request.path.clone()),
        ("HOME".to_owned(), dir("home")),
        ("TMPDIR".to_owned(), dir("tmp")),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned()),
        ("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".to_owned()),
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ("GIT_ATTR_NOSYSTEM".to_owned(), "1".to_owned()),
    ]);
    // Given by environment, it outranks every file, the repository's own configuration included.
    let mut git = vec![
        ("core.hooksPath", "/dev/null".to_owned()),
        ("core.fsmonitor", "false".to_owned()),
        ("core.sshCommand", "false".to_owned()),
        ("core.askPass", String::new()),
        ("credential.helper", String::new()),
        ("protocol.allow", "never".to_owned()),
        ("protocol.https.allow", "always".to_owned()),
        ("gc.auto", "0".to_owned()),
        ("maintenance.auto", "false".to_owned()),
    ];
    if !request.mounts.is_empty() {
        git.push(("protocol.file.allow", "always".to_owned()));
    }
    git.extend(
        request
            .mounts
            .iter()
            .map(|m| ("safe.directory", m.path.display().to_string())),
    );
    env.insert("GIT_CONFIG_COUNT".to_owned(), git.len().to_string());
    for (index, (key, value)) in git.into_iter().enumerate() {
        env.insert(format!("GIT_CONFIG_KEY_{index}"), key.to_owned());
        env.insert(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    env
}

/// Knows every secret that the job was given.
fn redactor(request: &Request) -> Redactor {
    let files = request.files.iter().filter(|file| file.secret);
    let values = files.flat_map(|file| Redactor::values_of_file(&file.contents.0));
    let variables = request
        .env
        .iter()
        .filter(|(name, _)| Redactor::is_sensitive_name(name));
    let all = values
        .chain(variables.map(|(_, value)| value.clone()))
        .chain(request.secrets.iter().cloned());
    Redactor::with_values(all)
}

async fn run_all(request: &Request, jail: &mut Jail, proxy_port: Option<u16>, redactor: &Redactor) -> Reply {
    if write_frame(io::stdout().lock(), &Reply::Started).is_err() {
        return Reply::NotStarted("the caller is gone".to_owned());
    }
    let deadline = Instant::now() + Duration::from_secs(request.limits.timeout_secs.into());
    let mut commands: Vec<CommandOutcome> = Vec::new();
    let mut layers = Vec::new();
    for command in &request.commands {
        let run = Run {
            request: exec_request(request, jail, proxy_port, command.argv.clone()),
            stdin: command.stdin.as_ref().map_or(&[][..], |blob| &blob.0),
            redactor,
            deadline,
        };
        match run.run(jail).await {
            Ran::Refused(refusal) if commands.is_empty() => return Reply::Refused(refusal),
            Ran::Refused(refusal) => {
                let reason = format!("layer {}: {}", refusal.layer, refusal.reason);
                commands.push(CommandOutcome {
                    exit: Exit::NotStarted,
                    stdout: String::new(),
                    stderr: reason,
                    truncated: false,
                    duration_ms: 0,
                });
            }
            Ran::Ended(outcome, confined) => {
                commands.push(outcome);
                layers = confined;
            }
        }
        if commands.last().is_some_and(|last| last.exit != Exit::Code(0)) {
            break;
        }
    }
    let mut all = entered_layers(request);
    all.append(&mut layers);
    Reply::Finished {
        commands,
        layers: all,
    }
}

fn exec_request(request: &Request, jail: &Jail, proxy_port: Option<u16>, argv: Vec<String>) -> ExecRequest {
    ExecRequest {
        profile: request.profile,
        token: hex::encode(rand::random::<[u8; 32]>()),
        argv,
        env: request.env.clone(),
        init_pid: jail.init_pid(),
        job_dir: jail.job_dir.clone(),
        mounts: request.mounts.clone(),
        tool_dirs: request.tool_dirs.clone(),
        limits: request.limits.clone(),
        proxy_port,
        probe: request.probe,
    }
}

fn entered_layers(request: &Request) -> Vec<LayerState> {
    let names: &[(&str, &str)] = if request.profile == Profile::Ns {
        &[
            ("ns.user", "commands own no capability"),
            ("ns.mount", "private root"),
            ("ns.pid", "ends with the job"),
            ("ns.net", "no network but the proxy"),
            ("ns.ipc", "private"),
            ("ns.uts", "private"),
        ]
    } else {
        &[("pod.subreaper", "kill loop at the end")]
    };
    let mut layers: Vec<_> = names
        .iter()
        .map(|(name, detail)| LayerState {
            name: (*name).to_owned(),
            active: true,
            detail: (*detail).to_owned(),
        })
        .collect();
    layers.push(LayerState {
        name: "no_new_privs".to_owned(),
        active: true,
        detail: "set by the supervisor".to_owned(),
    });
    if request.cgroup.is_some() {
        layers.push(LayerState {
            name: "cgroup".to_owned(),
            active: true,
            detail: "memory and pids".to_owned(),
        });
    }
    layers
}
