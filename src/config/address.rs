//! Where a role listens.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `IP:PORT`, or `:PORT` for every address of the machine. Port 0 takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ListenAddr(SocketAddr);

impl ListenAddr {
    /// Every address, this port.
    #[must_use]
    pub const fn port(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
    }

    /// To bind.
    #[must_use]
    pub const fn socket(&self) -> SocketAddr {
        self.0
    }

    /// How the role is reached from its own machine.
    #[must_use]
    pub fn local_socket(&self) -> SocketAddr {
        let mut address = self.0;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        address
    }

    /// The same as a URL: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn local_url(&self) -> String {
        format!("http://{}", self.local_socket())
    }
}

impl FromStr for ListenAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = match text.strip_prefix(':') {
            Some(port) => Cow::Owned(format!("0.0.0.0:{port}")),
            None => Cow::Borrowed(text),
        };
        whole
            .parse()
            .map(Self)
            .map_err(|_| format!("`{text}` is no address to listen on: expected IP:PORT or :PORT"))
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl TryFrom<String> for ListenAddr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ListenAddr> for String {
    fn from(address: ListenAddr) -> Self {
        if address.0.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
            format!(":{}", address.0.port())
        } else {
            address.0.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_means_every_address_and_is_reached_locally() {
        let address: ListenAddr = ":8080".parse().unwrap();
        assert_eq!(address.socket().to_string(), "0.0.0.0:8080");
        assert_eq!(address.local_url(), "http://127.0.0.1:8080");
        assert_eq!(String::from(address), ":8080");
        assert!("8080".parse::<ListenAddr>().is_err());
    }
}
