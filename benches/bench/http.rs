//! A client that costs little: one connection a worker, kept open.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use axum::body::{Body, Bytes, to_bytes};
use hyper::{
    Request,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Mutex};

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Connections to one server, one for each worker.
pub struct Clients(Vec<Mutex<SendRequest<Body>>>);

impl Clients {
    /// Connects `workers` times.
    pub async fn connect(port: u16, workers: usize) -> anyhow::Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..workers {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            clients.push(Mutex::new(sender));
        }
        Ok(Self(clients))
    }

    /// GET; anything but success is an error.
    pub async fn get(&self, worker: usize, path: &str, token: Option<&str>) -> anyhow::Result<Bytes> {
        self.send(worker, "GET", path, token, Body::empty()).await
    }

    /// POST of JSON; anything but success is an error.
    pub async fn post(&self, worker: usize, path: &str, token: &str, json: Bytes) -> anyhow::Result<Bytes> {
        self.send(worker, "POST", path, Some(token), Body::from(json))
            .await
    }

    async fn send(
        &self,
        worker: usize,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Body,
    ) -> anyhow::Result<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if method == "POST" {
            request = request.header("content-type", "application/json");
        }
        let mut sender = self.0.get(worker).context("a connection a worker")?.lock().await;
        // The connection goes back to rest a moment after the last answer was read.
        sender.ready().await?;
        let answer = sender.send_request(request.body(body)?).await?;
        let status = answer.status();
        let bytes = to_bytes(Body::new(answer.into_body()), MAX_ANSWER_BYTES).await?;
        anyhow::ensure!(
            status.is_success(),
            "{method} {path}: {status}: {}",
            String::from_utf8_lossy(&bytes)
        );
        Ok(bytes)
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
