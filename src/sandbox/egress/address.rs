//! From a permitted name to a permitted address, and a connection to exactly that address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::HostPort;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses under which clouds give credentials to whoever asks, beyond 169.254.0.0/16.
const METADATA: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)),
];

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
    named || localhost || !is_special(address.to_canonical())
}

fn is_special(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => {
            // NAT64, 6to4 and IPv4-compatible addresses lead to the IPv4 address inside of them.
            let [.., high, low] = v6.segments();
            let inner = match v6.segments() {
                [0x64, 0xff9b, ..] | [0, 0, 0, 0, 0, 0, ..] => Some((high, low)),
                [0x2002, high, low, ..] => Some((high, low)),
                _ => None,
            };
            let inner = inner.map(|(high, low)| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
            v6.is_unicast_link_local() || inner.is_some_and(|v4| is_special(IpAddr::V4(v4)))
        }
    };
    special
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || METADATA.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_to_special_addresses() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
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
