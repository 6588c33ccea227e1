//! The forwarder: listens on 127.0.0.1 where the commands can reach it, and pipes each connection to the proxy's socket.

use std::{io, net::Ipv4Addr, path::PathBuf, sync::Arc};

use rtnetlink::LinkUnspec;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    sync::Semaphore,
};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;

/// The loopback interface is the first of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Brings the loopback interface of a new network namespace up.
pub(super) async fn bring_loopback_up() -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let up = LinkUnspec::new_with_index(LOOPBACK_INDEX).up().build();
    let result = handle.link().set(up).execute().await;
    connection.abort();
    result.map_err(io::Error::other)
}

/// Starts forwarding to the proxy's socket and returns the port.
pub(super) async fn forward_to(socket: PathBuf) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::spawn(async move {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let Ok((connection, _)) = listener.accept().await else {
                continue;
            };
            let socket = socket.clone();
            tokio::spawn(async move {
                // A failed connection shows at the command, which sees its connection closed.
                let _ = pipe(connection, &socket).await;
                drop(place);
            });
        }
    });
    Ok(port)
}

async fn pipe(mut from: TcpStream, socket: &PathBuf) -> io::Result<()> {
    let mut to = UnixStream::connect(socket).await?;
    copy_bidirectional(&mut from, &mut to).await?;
    Ok(())
}
