//! Where a request comes from where proxies stand in between.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::oauth::source::Source;

/// What proxies put the addresses into that they were asked from. It is no standard, and everywhere.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A proxy, or a network of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Proxy(IpNet);

/// The proxies whose `X-Forwarded-For` is believed. Anybody else can write there what they like.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustedProxies(Vec<Proxy>);

impl Proxy {
    /// Reads an address such as `127.0.0.1`, or a network such as `10.0.0.0/8`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<IpAddr>() {
            Ok(address) => Some(Self(IpNet::from(address.to_canonical()))),
            Err(_) => text.parse().ok().map(Self),
        }
    }
}

impl FromIterator<Proxy> for TrustedProxies {
    fn from_iter<Proxies: IntoIterator<Item = Proxy>>(proxies: Proxies) -> Self {
        Self(proxies.into_iter().collect())
    }
}

impl TrustedProxies {
    /// The source of a request that `peer` sent with `headers`.
    pub fn source(&self, peer: IpAddr, headers: &HeaderMap) -> Source {
        Source::of(self.address(peer, headers))
    }

    /// The last address that is no trusted proxy. Each proxy appends the address that it was asked from, so
    /// that only what trusted ones appended is true: all to the left of the first stranger is the stranger's
    /// own. What is no address ends the search where it is.
    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        for entry in lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')) {
            if !self.include(address) {
                break;
            }
            let Ok(before) = entry.trim().parse::<IpAddr>() else { break };
            address = before.to_canonical();
        }
        address
    }

    fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|proxy| proxy.0.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_address_is_the_last_that_is_no_trusted_proxy() {
        let proxies: TrustedProxies =
            ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"].map(|text| Proxy::parse(text).unwrap()).into_iter().collect();
        let cases: [(&str, &[&str], &str); 16] = [
            // Nobody is believed who is no trusted proxy.
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("127.0.0.2", &["198.51.100.7"], "127.0.0.2"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // What the client wrote itself is to the left.
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["10.9.9.9, 198.51.100.7"], "198.51.100.7"),
            // Proxy behind proxy.
            ("127.0.0.1", &["203.0.113.9,198.51.100.7,10.0.0.3 , 2001:db8::1"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7", "10.0.0.3"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9, ::ffff:10.0.0.3"], "203.0.113.9"),
            ("127.0.0.1", &["10.0.0.4, 10.0.0.3"], "10.0.0.4"),
            ("127.0.0.1", &["2001:db9::1"], "2001:db9::1"),
            // No address: the last good one, or the peer.
            ("127.0.0.1", &["198.51.100.7, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7, , 10.0.0.3"], "10.0.0.3"),
            ("127.0.0.1", &["198.51.100.7", "\u{e4}"], "127.0.0.1"),
        ];
        for (peer, lines, address) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            let found = proxies.address(peer.parse().unwrap(), &headers);
            assert_eq!(found, address.parse::<IpAddr>().unwrap(), "{peer}, {lines:?}");
        }
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        for text in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.0/8", "fd00::/8"] {
            assert!(Proxy::parse(text).is_some(), "{text}");
        }
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0", "127.0.0.1:80", " 127.0.0.1"] {
            assert!(Proxy::parse(text).is_none(), "{text}");
        }
    }
}
