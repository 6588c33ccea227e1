//! The sandbox role's end of a remote way out: a unix socket whose connections go to the tool-router's listener, with the
//! job's secret, which the commands never see.

use std::{io, path::Path, sync::Arc};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::timeout,
};

use super::{HEAD_TIMEOUT, Head, PrivateSocket, accept};

/// The relay of one job. Dropping it ends every connection and removes the socket.
#[derive(Debug)]
pub(crate) struct EgressRelay {
    socket: PrivateSocket,
    _tasks: JoinSet<()>,
}

impl EgressRelay {
    /// Relays to the listener at `address` (`host:port`).
    pub(crate) fn start(address: String, secret: SecretString) -> io::Result<Self> {
        let (socket, listener) = PrivateSocket::bind()?;
        let upstream = Arc::new((address, secret));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, move |connection| {
            relay(connection, Arc::clone(&upstream))
        }));
        Ok(Self {
            socket,
            _tasks: tasks,
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        self.socket.path()
    }
}

async fn relay(mut client: UnixStream, upstream: Arc<(String, SecretString)>) -> io::Result<()> {
    let head = timeout(HEAD_TIMEOUT, Head::read(&mut client))
        .await
        .map_err(io::Error::other)??;
    let mut proxy = TcpStream::connect(&upstream.0).await?;
    proxy
        .write_all(&head.with_secret(upstream.1.expose_secret()))
        .await?;
    copy_bidirectional(&mut client, &mut proxy).await?;
    Ok(())
}
