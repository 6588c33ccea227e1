//! The egress proxy: the only way out of a sandbox, in the process that calls it.
//!
//! In: HTTP `CONNECT` and absolute-form `http://` requests, over a unix socket made for one job, or over TCP with the secret
//! of a [`Grant`]. Out: connections to the hosts and ports of the job's allow list. Always holds: names are resolved here,
//! the connection goes to the very address that was checked, and loopback, link-local and metadata addresses are refused
//! unless the allow list names them literally. Deliberately not here: looking into what is sent.

mod address;
mod head;
mod listener;
mod relay;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::UnixListener,
    task::JoinSet,
    time::timeout,
};

use super::HostPort;
use head::Head;

pub use listener::{EgressListener, Grant};
pub(super) use relay::EgressRelay;

/// Connections of one job at a time.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The proxy of one job, on a unix socket of its own. Dropping it ends every connection and removes the socket.
#[derive(Debug)]
pub struct EgressProxy {
    socket: PrivateSocket,
    _tasks: JoinSet<()>,
}

impl EgressProxy {
    /// Listens for one job, which may reach these and nothing else.
    pub async fn start(allow: Vec<HostPort>) -> io::Result<Self> {
        let (socket, listener) = PrivateSocket::bind()?;
        let allow: Arc<[HostPort]> = allow.into();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, move |connection| {
            let allow = Arc::clone(&allow);
            async move { serve(connection, |_| Some(allow)).await }
        }));
        Ok(Self {
            socket,
            _tasks: tasks,
        })
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }
}

/// A unix socket in a folder of its own, gone when dropped.
#[derive(Debug)]
struct PrivateSocket(PathBuf);

impl PrivateSocket {
    fn bind() -> io::Result<(Self, UnixListener)> {
        let name = format!("carapulse-egress-{}", hex::encode(rand::random::<[u8; 16]>()));
        let dir = std::env::temp_dir().join(name);
        // A supervisor started by root gives root up before it connects: the unguessable name guards the socket then.
        let root = nix::unistd::geteuid().is_root();
        fs::DirBuilder::new()
            .mode(if root { 0o711 } else { 0o700 })
            .create(&dir)?;
        let socket = Self(dir.join("proxy.sock"));
        if root {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
        }
        let listener = UnixListener::bind(&socket.0)?;
        fs::set_permissions(
            &socket.0,
            fs::Permissions::from_mode(if root { 0o666 } else { 0o600 }),
        )?;
        Ok((socket, listener))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        if let Some(dir) = self.0.parent() {
            // Left behind it is an empty folder with a dead socket.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// Accepts until dropped, so many connections at a time; dropping ends them all.
async fn accept<F, S>(listener: UnixListener, serve: F)
where
    F: Fn(tokio::net::UnixStream) -> S,
    S: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                if let Ok((connection, _)) = accepted {
                    let served = serve(connection);
                    connections.spawn(async move {
                        if let Err(error) = served.await {
                            tracing::debug!(%error, "an egress connection ended");
                        }
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection; `allow_list` finds what this client may reach, if anything.
async fn serve<C, A>(mut client: C, allow_list: A) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    A: FnOnce(&Head) -> Option<Arc<[HostPort]>>,
{
    let head = timeout(HEAD_TIMEOUT, Head::read(&mut client))
        .await
        .map_err(io::Error::other)?;
    let Ok(head) = head else {
        return answer(&mut client, "400 Bad Request", "not a proxy request").await;
    };
    let Some(allow) = allow_list(&head) else {
        return answer(&mut client, "407 Proxy Authentication Required", "no such job").await;
    };
    let Some(target) = head.target() else {
        return answer(
            &mut client,
            "400 Bad Request",
            "expected CONNECT host:port or http://host/",
        )
        .await;
    };
    if !allow.contains(&target) {
        return deny(&mut client, &target, "not on the job's allow list").await;
    }
    match address::connect(&target).await {
        Ok(mut server) => {
            metrics::counter!("carapulse_sandbox_egress_total", "decision" => "allowed").increment(1);
            if head.is_connect() {
                client
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .await?;
            } else {
                server.write_all(&head.origin_form(&target)).await?;
            }
            server.write_all(head.rest()).await?;
            copy_bidirectional(&mut client, &mut server).await?;
            Ok(())
        }
        Err(address::ConnectError::Forbidden) => {
            deny(&mut client, &target, "resolves to no permitted address").await
        }
        Err(address::ConnectError::Io(error)) => {
            answer(&mut client, "502 Bad Gateway", &format!("{target}: {error}")).await
        }
    }
}

async fn deny<C: AsyncWrite + Unpin>(client: &mut C, target: &HostPort, why: &str) -> io::Result<()> {
    metrics::counter!("carapulse_sandbox_egress_total", "decision" => "denied").increment(1);
    tracing::warn!(%target, why, "egress denied");
    answer(
        client,
        "403 Forbidden",
        &format!("egress to {target} denied: {why}"),
    )
    .await
}

async fn answer<C: AsyncWrite + Unpin>(client: &mut C, status: &str, why: &str) -> io::Result<()> {
    let length = why.len() + 1;
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}\n"
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}

#[cfg(test)]
mod tests;
