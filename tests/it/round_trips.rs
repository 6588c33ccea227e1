//! How often a request waits for the database: a number that no machine's noise changes, and that must not grow unnoticed.
//!
//! A proxy before Postgres counts what the gateway really sends. `docs/benchmarks.md` shows the table; the two are compared.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{path::PathBuf, time::Duration};

use carapulse::{
    domain::Role,
    store::{Address, Db, DbRole},
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixListener, UnixStream},
    sync::watch,
};

use crate::{
    gateway::world::{World, answer},
    harness::TestDb,
};

/// Request, and its round trips: opening a transaction is one, so is each statement, each commit, and giving a connection back
/// (with the ROLLBACK, where there was nothing to commit), which no client waits for.
const REQUESTS: &[(&str, &str, u32)] = &[
    ("GET", "/v1/plans/{id}", 4),
    ("GET", "/v1/plans/{id}/diff", 4),
    ("GET", "/v1/plans?limit=50", 4),
    ("GET", "/v1/plans?limit=50&status=pending_approval", 4),
    ("GET", "/v1/approvals?limit=50", 4),
    ("GET", "/v1/executions?limit=50", 4),
    ("GET", "/v1/incidents?limit=50", 4),
    ("GET", "/v1/audit/events?limit=50", 4),
    ("POST", "/v1/plans", 9),
];

#[tokio::test]
async fn a_request_makes_the_round_trips_that_the_documentation_says() {
    let (world, counting) = counted_world().await;
    let ada = world.token("ada", Role::Operator).await;
    let (_, made) = answer(world.post("/v1/plans", &ada, &scale())).await;
    let id = made["plan_id"].as_str().unwrap();
    let mut table = String::from("| Request | Round trips |\n|---|---|\n");
    for (method, path, expected) in REQUESTS {
        let mut counts = Vec::new();
        // The first of its kind prepares its statements.
        for _ in 0..3 {
            let before = counting.at_rest().await;
            let path = path.replace("{id}", id);
            let (status, body) = match *method {
                "POST" => answer(world.post(&path, &ada, &scale())).await,
                _ => answer(world.get(&path, &ada)).await,
            };
            assert!(status == 200 || status == 201, "{path}: {body}");
            counts.push(counting.at_rest().await - before);
        }
        assert_eq!(counts[1..], [*expected, *expected], "{method} {path}");
        table.push_str(&format!("| `{method} {path}` | {expected} |\n"));
    }
    let page = include_str!("../../docs/benchmarks.md");
    assert!(
        page.contains(table.trim()),
        "docs/benchmarks.md is behind; its table must be:\n{table}"
    );
}

#[tokio::test]
async fn a_client_that_is_slow_to_send_its_body_holds_no_connection() {
    let (world, _counting) = counted_world().await;
    let ada = world.token("ada", Role::Operator).await;
    let body = scale().to_string();
    let (first, rest) = body.split_at(10);
    let host = world.url.trim_start_matches("http://");
    let mut slow = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /v1/plans HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ada}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{first}",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // The pool has one connection: whoever is answered got it.
    for _ in 0..3 {
        let request = world.get("/v1/plans", &ada).timeout(Duration::from_secs(8));
        assert_eq!(answer(request).await.0, 200);
    }
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut response = String::new();
    slow.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
}

fn scale() -> serde_json::Value {
    json!({"target": "shop", "summary": "more room", "intent": {"kind": "scale", "service": "checkout", "replicas": 5}})
}

/// A gateway with one connection, through a proxy that counts.
async fn counted_world() -> (World, Counting) {
    let db = TestDb::new().await;
    let counting = Counting::before(&db.address(DbRole::Gateway));
    let pool = Db::connect(&counting.url, DbRole::Gateway, 1).await.unwrap();
    let world = World::on(db, pool).await;
    world.target("shop").await;
    (world, counting)
}

/// What went through the proxy.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// After the connection was made.
    counting: bool,
    round_trips: u32,
    /// Answers that the server owes.
    awaited: u32,
    /// The client's last message was the pool's question whether the connection lives.
    pinged: bool,
    /// Messages since the last that the server answers.
    unanswered: u32,
}

impl Seen {
    fn sent(&mut self, kind: u8) {
        // A query in one message, or the end of a prepared one: these are answered with "ready".
        if kind != b'Q' && kind != b'S' {
            self.unanswered += 1;
            return;
        }
        if self.awaited == 0 && self.counting {
            self.round_trips += 1;
        }
        self.pinged = kind == b'S' && self.unanswered == 0;
        self.unanswered = 0;
        self.awaited += 1;
    }

    fn received(&mut self, kind: u8) {
        if kind == b'Z' {
            self.awaited = self.awaited.saturating_sub(1);
            self.counting = true;
        }
    }
}

/// A proxy before a Postgres.
struct Counting {
    url: String,
    seen: watch::Receiver<Seen>,
    _folder: tempfile::TempDir,
}

impl Counting {
    fn before(address: &Address) -> Self {
        let mut url: url::Url = address.expose().parse().unwrap();
        let server = Server::of(&url);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_string_lossy().into_owned();
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| key != "host")
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(others)
            .append_pair("host", &path)
            .append_pair("sslmode", "disable");
        let port = url.port().unwrap_or(5432);
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{port}"))).unwrap();
        let (said, seen) = watch::channel(Seen::default());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (read, write) = server.connect().await;
                let (from_client, to_client) = client.into_split();
                let (up, down) = (said.clone(), said.clone());
                // The first message of a client has no kind.
                tokio::spawn(pump(from_client, write, true, move |kind| {
                    up.send_modify(|seen| seen.sent(kind));
                }));
                tokio::spawn(pump(read, to_client, false, move |kind| {
                    down.send_modify(|seen| seen.received(kind));
                }));
            }
        });
        Self {
            url: url.to_string(),
            seen,
            _folder: folder,
        }
    }

    /// Waits until the connection has been given back, and says how many round trips there were.
    async fn at_rest(&self) -> u32 {
        let mut seen = self.seen.clone();
        let rest = seen.wait_for(|seen| seen.pinged && seen.awaited == 0);
        let rest = tokio::time::timeout(Duration::from_secs(30), rest).await;
        rest.expect("a connection that is not used is given back")
            .unwrap()
            .round_trips
    }
}

enum Server {
    Socket(PathBuf),
    Tcp(String),
}

type Halves = (
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
);

impl Server {
    fn of(url: &url::Url) -> Self {
        let port = url.port().unwrap_or(5432);
        let host = url.query_pairs().find(|(key, _)| key == "host");
        match host {
            Some((_, folder)) => Self::Socket(PathBuf::from(&*folder).join(format!(".s.PGSQL.{port}"))),
            None => Self::Tcp(format!("{}:{port}", url.host_str().unwrap())),
        }
    }

    async fn connect(&self) -> Halves {
        match self {
            Self::Socket(path) => {
                let (read, write) = UnixStream::connect(path).await.unwrap().into_split();
                (Box::new(read), Box::new(write))
            }
            Self::Tcp(address) => {
                let (read, write) = TcpStream::connect(address).await.unwrap().into_split();
                (Box::new(read), Box::new(write))
            }
        }
    }
}

/// Passes everything on, after `look` has seen the kind of each whole message.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut bare: bool,
    look: impl Fn(u8),
) {
    let (mut chunk, mut held) = (vec![0; 64 << 10], Vec::new());
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        held.extend_from_slice(&chunk[..read]);
        loop {
            // Kind, then a length that counts itself.
            let head = usize::from(!bare);
            let Some(length) = held.get(head..head + 4) else {
                break;
            };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if held.len() < head + length {
                break;
            }
            if !bare {
                look(held[0]);
            }
            bare = false;
            held.drain(..head + length);
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            break;
        }
    }
}
