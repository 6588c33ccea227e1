//! From a permitted name to a permitted address, and a connection to exactly that address.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::HostPort;
use crate::domain::is_special;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// The name resolves, but to no address that may be reached.
    Forbidden,
    /// Resolving or connecting failed.
    Io(io::Error),
}

/// Resolves, checks, and connects to the address that was checked.
pub(super) async fn connect(target: &HostPort) -> Result<TcpStream, ConnectError> {
    let resolve = lookup_host((target.host.as_str(), target.port));
    let found = timeout(CONNECT_TIMEOUT, resolve)
        .await
        .map_err(|e| ConnectError::Io(e.into()))?;
    let found = found.map_err(ConnectError::Io)?;
    let mut last = ConnectError::Forbidden;
    for address in found.filter(|address| is_permitted(address.ip(), &target.host)) {
        match timeout(
            CONNECT_TIMEOUT,
            TcpStream::connect(SocketAddr::new(address.ip(), target.port)),
        )
        .await
        {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => last = ConnectError::Io(e),
            Err(e) => last = ConnectError::Io(e.into()),
        }
    }
    Err(last)
}

/// Whether `address`, to which `host` resolved, may be reached. The host itself is on the allow list already.
fn is_permitted(address: IpAddr, host: &str) -> bool {
    let named = host.parse::<IpAddr>().is_ok_and(|literal| literal == address);
    let localhost = host == "localhost" && address.is_loopback();
    named || localhost || !is_special(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_to_special_addresses() {
        for address in ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"] {
            let address: IpAddr = address.parse().expect("an address");
            assert!(!is_permitted(address, "innocent.example.com"), "{address}");
        }
        for address in [
            "10.0.0.1",
            "192.168.1.1",
            "93.184.216.34",
            "2606:2800:220:1::1",
            "fd12::1",
        ] {
            assert!(
                is_permitted(address.parse().expect("an address"), "innocent.example.com"),
                "{address}"
            );
        }
    }

    #[test]
    fn an_address_that_is_named_itself_is_permitted() {
        let loopback: IpAddr = "127.0.0.1".parse().expect("an address");
        assert!(is_permitted(loopback, "127.0.0.1"));
        assert!(is_permitted(loopback, "localhost"));
        assert!(!is_permitted(loopback, "127.0.0.2"));
        assert!(!is_permitted(
            "169.254.169.254".parse().expect("an address"),
            "localhost"
        ));
    }
}
