//! The forwarder: listens on 127.0.0.1 where the commands can reach it, and pipes each connection to the proxy's socket.

use std::{io, net::Ipv4Addr, path::PathBuf};

use rtnetlink::LinkUnspec;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinSet,
};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;

/// The loopback interface is the first of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Brings the loopback interface of a new network namespace up.
pub(super) async fn bring_loopback_up() -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let up = LinkUnspec::new_with_index(LOOPBACK_INDEX).up().build();
    tokio::select! {
        result = handle.link().set(up).execute() => result.map_err(io::Error::other),
        () = connection => Err(io::Error::other("the netlink socket closed")),
    }
}

/// A running forwarder. Dropping it ends every connection.
pub(super) struct Forwarder {
    pub(super) port: u16,
    _tasks: JoinSet<()>,
}

impl Forwarder {
    /// Starts forwarding to the proxy's socket.
    pub(super) async fn start(socket: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, socket));
        Ok(Self { port, _tasks: tasks })
    }
}

async fn accept(listener: TcpListener, socket: PathBuf) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                if let Ok((connection, _)) = accepted {
                    // A failed connection shows at the command, which sees its own closed.
                    connections.spawn(pipe(connection, socket.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pipe(mut from: TcpStream, socket: PathBuf) -> io::Result<()> {
    let mut to = UnixStream::connect(socket).await?;
    copy_bidirectional(&mut from, &mut to).await?;
    Ok(())
}
