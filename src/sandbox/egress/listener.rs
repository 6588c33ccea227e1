//! The way out for sandboxes on other machines: a TCP listener of the tool-router, where each job has a secret of its own.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::{ExposeSecret, SecretString};
use tokio::{net::TcpListener, task::JoinSet};

use super::{HostPort, serve};

/// Connections of all jobs at a time.
const MAX_CONNECTIONS: usize = 1024;

type Grants = Arc<Mutex<HashMap<String, Arc<[HostPort]>>>>;

/// Listens for jobs that run elsewhere. Dropping it ends every connection.
#[derive(Debug)]
pub struct EgressListener {
    address: SocketAddr,
    grants: Grants,
    _tasks: JoinSet<()>,
}

/// What one job may reach, for as long as this lives.
#[derive(Debug)]
pub struct Grant {
    secret: SecretString,
    grants: Grants,
}

impl EgressListener {
    /// Listens on this address.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let grants = Grants::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&grants)));
        Ok(Self {
            address,
            grants,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens the way for one job.
    #[must_use]
    pub fn grant(&self, allow: Vec<HostPort>) -> Grant {
        let secret = hex::encode(rand::random::<[u8; 32]>());
        self.grants
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(secret.clone(), allow.into());
        Grant {
            secret: secret.into(),
            grants: Arc::clone(&self.grants),
        }
    }
}

impl Grant {
    /// What the job's relay shows in `Proxy-Authorization: Bearer …`.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.grants
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.secret.expose_secret());
    }
}

async fn accept(listener: TcpListener, grants: Grants) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                if let Ok((connection, _)) = accepted {
                    let grants = Arc::clone(&grants);
                    connections.spawn(async move {
                        let found = |head: &super::Head| {
                            let grants = grants.lock().unwrap_or_else(PoisonError::into_inner);
                            grants.iter().find(|(secret, _)| head.bears(secret)).map(|(_, allow)| Arc::clone(allow))
                        };
                        if let Err(error) = serve(connection, found).await {
                            tracing::debug!(%error, "an egress connection ended");
                        }
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
