//! Which network addresses are no managed system's: for whoever connects where a target says.

use std::net::{IpAddr, Ipv4Addr};

/// Addresses under which clouds give credentials to whoever asks, beyond 169.254.0.0/16 and fd00:ec2::/32.
const METADATA: &[Ipv4Addr] = &[
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// Whether `address` is this machine, its link, no single host, or a cloud's metadata service, also where it stands inside of an IPv6
/// address. A name that leads there leads nowhere; what else is named there is for the caller to say.
#[must_use]
pub fn is_special(address: IpAddr) -> bool {
    let special = match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0 || METADATA.contains(&v4)
        }
        IpAddr::V6(v6) => {
            // NAT64, 6to4 and IPv4-compatible addresses lead to the IPv4 address inside of them.
            let [.., high, low] = v6.segments();
            let inner = match v6.segments() {
                [0x64, 0xff9b, ..] | [0, 0, 0, 0, 0, 0, ..] => Some((high, low)),
                [0x2002, high, low, ..] => Some((high, low)),
                _ => None,
            };
            let inner = inner.map(|(high, low)| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
            v6.is_unicast_link_local()
                || v6.segments()[..2] == [0xfd00, 0x0ec2]
                || inner.is_some_and(|v4| is_special(IpAddr::V4(v4)))
        }
    };
    let address = address.to_canonical();
    special || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_its_link_and_metadata_services_are_special_in_every_spelling() {
        let special = |text: &str| is_special(text.parse().expect("an address"));
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "2002:7f00:1::",
        ] {
            assert!(special(address), "{address}");
        }
        for address in [
            "10.0.0.1",
            "192.168.1.1",
            "93.184.216.34",
            "2606:2800:220:1::1",
            "fd12::1",
        ] {
            assert!(!special(address), "{address}");
        }
    }
}
