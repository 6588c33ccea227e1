//! The sandbox for real: this build's executable, the machine's kernel, the system's own programs. Every test runs in
//! both profiles, unless it is about one of them.

mod ending;
mod reach;
mod remote;
mod running;

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use carapulse::sandbox::{Command, Exit, Job, JobFile, LocalConfig, Outcome, Profile, Runner};
use secrecy::SecretSlice;
use uuid::Uuid;

pub(crate) const PROFILES: [Profile; 2] = [Profile::Ns, Profile::Pod];

pub(crate) fn config(profile: Profile) -> LocalConfig {
    LocalConfig {
        executable: env!("CARGO_BIN_EXE_carapulse").into(),
        profile,
        ..LocalConfig::default()
    }
}

pub(crate) fn runner(profile: Profile) -> Runner {
    Runner::local(config(profile))
}

pub(crate) fn nonce() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

pub(crate) fn job(argvs: &[&[&str]]) -> Job {
    let mut job = Job::new(
        nonce(),
        argvs
            .iter()
            .map(|argv| Command::new(argv.iter().copied()))
            .collect(),
    );
    job.limits.timeout_secs = 20;
    job
}

pub(crate) fn file(path: &str, text: &str, secret: bool) -> JobFile {
    JobFile {
        path: path.to_owned(),
        contents: SecretSlice::from(text.as_bytes().to_vec()),
        secret,
    }
}

pub(crate) async fn run(profile: Profile, job: Job) -> Outcome {
    runner(profile)
        .run(job)
        .await
        .unwrap_or_else(|e| panic!("{profile:?}: {e}"))
}

/// Runs one command and returns its exit and its output.
pub(crate) async fn one(profile: Profile, argv: &[&str]) -> (Exit, String) {
    let outcome = run(profile, job(&[argv])).await;
    let command = &outcome.commands[0];
    (command.exit, format!("{}{}", command.stdout, command.stderr))
}

/// Processes of the machine whose command line holds `needle`.
pub(crate) fn processes_with(needle: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| {
            entry.file_name().to_str()?.parse::<i32>().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
    lines.filter(|line| line.contains(needle)).collect()
}

/// Waits until no process holds `needle` any more.
pub(crate) fn gone(needle: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes_with(needle).is_empty() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Answers HTTP on a port of its own for as long as the tests run.
pub(crate) fn http_server(body: &'static str) -> String {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            let _ = connection.read(&mut buffer);
            let length = body.len();
            let _ = write!(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    address
}
