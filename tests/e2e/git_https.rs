//! Git over https: a real `git http-backend` behind TLS with a certificate of a private authority, asked by the sandboxed
//! git of the tool-router. The token comes to git in a file, and never shows in a process' arguments or environment.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use carapulse::{
    domain::{
        GitPlace, SecretRef,
        plan::Args,
        run::{AttemptStatus, Direction},
    },
    tools::{ReadError, Router},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::approved::{Approved, revert, router};

const TOKEN: &str = "ghp_a+token/with=signs0123456789";
const MANIFEST: &str = "app.conf";

#[tokio::test]
async fn a_repository_behind_a_private_authority_is_read_and_reverted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().canonicalize().unwrap();
    let bad = repository(&at);
    let server = Server::start(&at).await;
    let place = |authority: Option<&Path>| GitPlace {
        url: server.url.clone(),
        branch: "main".into(),
        path: String::new(),
        read_credential: Some(SecretRef::File(at.join("token"))),
        write_credential: Some(SecretRef::File(at.join("token"))),
        ca_certificates: authority.map(|path| SecretRef::File(path.to_owned())),
    };
    std::fs::write(at.join("token"), format!("{TOKEN}\n")).unwrap();

    let stranger = approved(place(None), &bad).await;
    let unknown = read(&stranger, &router(&stranger, &at)).await.unwrap_err();
    assert!(
        matches!(&unknown, ReadError::Failed { message, .. } if message.contains("certificate")),
        "the machine does not know the authority: {unknown:?}"
    );

    let mut it = approved(place(Some(&at.join("ca.pem"))), &bad).await;
    let router = router(&it, &at);
    assert_eq!(read(&it, &router).await.unwrap(), bad);
    let act = it.intend(0, Direction::Forward, 1).await;
    let report = router.act(&act).await.expect("report");
    assert_eq!(report.status, AttemptStatus::Done, "{report:?}");
    let content = git(&at.join("shop.git"), &["show", &format!("main:{MANIFEST}")]);
    assert_eq!(content, "workers=8");
    let message = git(&at.join("shop.git"), &["log", "-1", "--format=%B", "main"]);
    assert!(
        message.contains(&format!("Carapulse-Execution: {}", act.execution_id)),
        "{message}"
    );

    let seen = &server.seen;
    assert!(
        seen.pushes.load(Ordering::SeqCst) > 0,
        "it was pushed through the server"
    );
    assert!(
        seen.asked.load(Ordering::SeqCst) > 0,
        "who shows no token is asked for one"
    );
    assert_eq!(
        seen.leaks.load(Ordering::SeqCst),
        0,
        "the token showed in a process"
    );

    std::fs::write(at.join("token"), "another").unwrap();
    let refused = read(&it, &router).await.unwrap_err();
    assert!(matches!(&refused, ReadError::Failed { .. }), "{refused:?}");
    assert!(!format!("{refused:?}").contains("another"), "{refused:?}");
}

async fn approved(git: GitPlace, bad: &str) -> Approved {
    Approved::at(
        |target| target.git = Some(git),
        |catalog| vec![revert(catalog, bad, Some(bad))],
    )
    .await
}

async fn read(it: &Approved, router: &Arc<Router>) -> Result<String, ReadError> {
    let target = it.target.target_id;
    let answer = router.read(&it.ctx, target, "git", "head", &Args::new()).await?;
    Ok(answer.value[0]["commit"].as_str().unwrap_or_default().to_owned())
}

/// A bare repository `shop.git` whose last commit is bad; answers that commit.
fn repository(at: &Path) -> String {
    git(at, &["init", "--quiet", "--initial-branch=main", "seed"]);
    let seed = at.join("seed");
    for text in ["workers=8", "workers=0"] {
        std::fs::write(seed.join(MANIFEST), text).unwrap();
        git(&seed, &["add", "--all"]);
        git(&seed, &["commit", "--quiet", "--message", text]);
    }
    git(at, &["clone", "--quiet", "--bare", "seed", "shop.git"]);
    git(&at.join("shop.git"), &["config", "http.receivepack", "true"]);
    git(&seed, &["rev-parse", "HEAD"])
}

fn git(at: &Path, args: &[&str]) -> String {
    let who = [
        "-c",
        "user.name=dev",
        "-c",
        "user.email=dev@localhost",
        "-c",
        "safe.directory=*",
    ];
    run(Command::new("git").args(who).args(args).current_dir(at))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The server, and what it has seen.
struct Server {
    url: String,
    seen: Arc<Seen>,
}

struct Seen {
    root: PathBuf,
    pushes: AtomicU32,
    asked: AtomicU32,
    leaks: AtomicU32,
}

impl Server {
    async fn start(at: &Path) -> Self {
        let acceptor = tls(at);
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/shop.git", tcp.local_addr().unwrap());
        let seen = Arc::new(Seen {
            root: at.to_owned(),
            pushes: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            leaks: AtomicU32::new(0),
        });
        let routes = axum::Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let listener = Tls { tcp, acceptor };
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, seen }
    }
}

/// An authority of our own in `ca.pem`, and what it signed for the loopback address.
fn tls(at: &Path) -> TlsAcceptor {
    let openssl = |args: &[&str]| run(Command::new("openssl").args(args).current_dir(at));
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = [
        "req",
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=test authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ];
    openssl(&[&authority[..], &new].concat());
    let server = [
        "req",
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=git",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
    ];
    openssl(&[&server[..], &new].concat());
    let chain = vec![CertificateDer::from_pem_file(at.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(at.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // A client that does not know the authority goes away here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

async fn answer(State(seen): State<Arc<Seen>>, request: Request) -> Response {
    let expected = format!("Basic {}", STANDARD.encode(format!("x-access-token:{TOKEN}")));
    let shown = request.headers().get(header::AUTHORIZATION);
    if shown.is_none_or(|shown| shown.as_bytes() != expected.as_bytes()) {
        seen.asked.fetch_add(1, Ordering::SeqCst);
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    if token_shows() {
        seen.leaks.fetch_add(1, Ordering::SeqCst);
    }
    if request.uri().path().ends_with("/git-receive-pack") {
        seen.pushes.fetch_add(1, Ordering::SeqCst);
    }
    backend(&seen.root, request).await
}

/// Whether the token stands in the arguments or the environment of any process of this machine, while git is asking.
fn token_shows() -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut files =
        processes.flat_map(|process| ["cmdline", "environ"].map(|file| process.path().join(file)));
    files.any(|file| {
        let bytes = std::fs::read(file).unwrap_or_default();
        bytes
            .windows(TOKEN.len())
            .any(|window| window == TOKEN.as_bytes())
    })
}

/// One CGI request to `git http-backend`.
async fn backend(root: &Path, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    let header = |name: HeaderName| {
        let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let variables = BTreeMap::from([
        ("GIT_PROJECT_ROOT", root.display().to_string()),
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
        ("REQUEST_METHOD", parts.method.to_string()),
        ("PATH_INFO", parts.uri.path().to_owned()),
        ("QUERY_STRING", parts.uri.query().unwrap_or_default().to_owned()),
        ("CONTENT_TYPE", header(header::CONTENT_TYPE)),
        ("CONTENT_LENGTH", body.len().to_string()),
        ("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING)),
        (
            "HTTP_GIT_PROTOCOL",
            header(HeaderName::from_static("git-protocol")),
        ),
        ("REMOTE_USER", "x-access-token".to_owned()),
        ("REMOTE_ADDR", "127.0.0.1".to_owned()),
    ]);
    let mut child = tokio::process::Command::new("git")
        .args(["-c", "safe.directory=*", "http-backend"])
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move {
        // It may have answered without reading all.
        let _written = stdin.write_all(&body).await;
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    cgi(Bytes::from(output.unwrap().stdout))
}

/// Headers, an empty line, the body.
fn cgi(answer: Bytes) -> Response {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut response = answer.slice(end + 4..).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for line in head.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            *response.status_mut() = value[..3].parse().unwrap();
        } else {
            let name: HeaderName = name.parse().unwrap();
            response
                .headers_mut()
                .insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    response
}
