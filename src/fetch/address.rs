//! Which addresses are connected to: a URL from outside must not make the mint talk to what only it can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who can reach an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// Everybody.
    Public,
    /// This host, or the networks around it: an operator's own issuer may be there.
    Private,
    /// No host that serves documents has it: cloud metadata services, multicast, documentation.
    Never,
}

/// Blocks that are not public (IANA's registry of special-purpose addresses, RFC 6890): address, bits, reach.
const V4_BLOCKS: [([u8; 4], u32, Reach); 17] = [
    ([0, 0, 0, 0], 8, Reach::Never),
    ([10, 0, 0, 0], 8, Reach::Private),
    ([100, 64, 0, 0], 10, Reach::Private),
    ([127, 0, 0, 0], 8, Reach::Private),
    // A cloud's host agent, at a public address and yet its own customer's only.
    ([168, 63, 129, 16], 32, Reach::Never),
    // Link-local, and with it the metadata services.
    ([169, 254, 0, 0], 16, Reach::Never),
    ([172, 16, 0, 0], 12, Reach::Private),
    ([192, 0, 0, 0], 24, Reach::Never),
    ([192, 0, 2, 0], 24, Reach::Never),
    ([192, 31, 196, 0], 24, Reach::Never),
    ([192, 52, 193, 0], 24, Reach::Never),
    ([192, 88, 99, 0], 24, Reach::Never),
    ([192, 168, 0, 0], 16, Reach::Private),
    ([198, 18, 0, 0], 15, Reach::Private),
    ([198, 51, 100, 0], 24, Reach::Never),
    ([203, 0, 113, 0], 24, Reach::Never),
    // Multicast, the reserved rest, and broadcast.
    ([224, 0, 0, 0], 3, Reach::Never),
];

/// Blocks of IPv6; whatever is in none of them and not in 2000::/3 is nobody's.
const V6_BLOCKS: [([u16; 8], u32, Reach); 8] = [
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Reach::Private),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Reach::Private),
    // Teredo, ORCHID, benchmarks, documentation.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Reach::Never),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Reach::Never),
    // 6to4 has an IPv4 address inside, and nobody's relays any more (RFC 7526).
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Reach::Never),
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, Reach::Never),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Reach::Never),
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, Reach::Public),
];

impl Reach {
    /// Who can reach `address`.
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let is_in = |block: [u8; 4], bits| (address.to_bits() ^ u32::from_be_bytes(block)).leading_zeros() >= bits;
        let block = V4_BLOCKS.into_iter().find(|(block, bits, _)| is_in(*block, *bits));
        block.map_or(Self::Public, |(_, _, reach)| reach)
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        // A host with IPv6 only reaches all of IPv4 by these (RFC 6052 §2.1).
        if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() {
            return match Self::of_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))) {
                Self::Public => Self::Public,
                Self::Private | Self::Never => Self::Never,
            };
        }
        let is_in =
            |block: [u16; 8], bits| (address.to_bits() ^ Ipv6Addr::from(block).to_bits()).leading_zeros() >= bits;
        let block = V6_BLOCKS.into_iter().find(|(block, bits, _)| is_in(*block, *bits));
        block.map_or(Self::Never, |(_, _, reach)| reach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_by_who_can_reach_them() {
        for (reach, addresses) in [
            (
                Reach::Public,
                &[
                    "1.1.1.1",
                    "9.255.255.255",
                    "11.0.0.0",
                    "100.63.255.255",
                    "100.128.0.0",
                    "128.0.0.1",
                    "169.253.255.255",
                    "172.15.255.255",
                    "172.32.0.0",
                    "192.167.255.255",
                    "192.169.0.0",
                    "223.255.255.255",
                    "2606:4700:4700::1111",
                    "2001:4860:4860::8888",
                    "2a00::1",
                    "64:ff9b::101:101",
                ][..],
            ),
            (
                Reach::Private,
                &[
                    "10.0.0.1",
                    "10.255.255.255",
                    "100.64.0.1",
                    "100.127.255.255",
                    "100.100.100.200",
                    "127.0.0.1",
                    "127.255.255.255",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "198.18.0.1",
                    "::1",
                    "fc00::1",
                    "fd00:ec2::254",
                    "fdff::1",
                ],
            ),
            (
                Reach::Never,
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "169.254.169.254",
                    "169.254.0.1",
                    "168.63.129.16",
                    "192.0.0.192",
                    "192.0.2.1",
                    "198.51.100.1",
                    "203.0.113.1",
                    "224.0.0.1",
                    "239.255.255.255",
                    "240.0.0.1",
                    "255.255.255.255",
                    "::",
                    "::ffff:127.0.0.1",
                    "::ffff:10.0.0.1",
                    "::ffff:1.1.1.1",
                    "::127.0.0.1",
                    "fe80::1",
                    "febf::1",
                    "fec0::1",
                    "ff02::1",
                    "ff0e::1",
                    "100::1",
                    "2001::1",
                    "2001:db8::1",
                    "2002:7f00:1::",
                    "3fff::1",
                    "4000::1",
                    "64:ff9b::7f00:1",
                    "64:ff9b::a9fe:a9fe",
                    "64:ff9b:1::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
            }
        }
    }
}
