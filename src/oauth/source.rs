//! Where a request comes from, as far as that can be counted by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The least that one sender is sure to have for itself: an IPv4 address, or an IPv6 network of 64 bits. Who
/// has an IPv6 address has such a network (RFC 4291 §2.5.1), and could send from another address each time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// One address.
    V4(Ipv4Addr),
    /// A network of 64 bits; the other half of the address is zero.
    V6(Ipv6Addr),
}

impl Source {
    /// The source that `address` belongs to. An IPv4 address that is mapped into IPv6 is an IPv4 address
    /// (RFC 4291 §2.5.5.2).
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{network}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_an_ipv4_address_or_an_ipv6_network() {
        for (address, source) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:ffff:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:ffff::", "2001:db8:1:ffff::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(Source::of(address.parse().unwrap()).to_string(), source, "{address}");
        }
    }
}
