//! Which addresses are not public, and which IPv4 addresses are hidden in IPv6 ones.
//!
//! By the IANA registries of special-purpose addresses (RFC 6890) as of 2025-10, and by those of
//! multicast. For IPv6 the rule is turned round: only `2000::/3` is given out for unicast
//! (RFC 4291 §2.4), so whatever else there is or will be is refused. Blocks that the registries
//! call globally reachable and that serve no web (anycast of PCP and TURN within 192.0.0.0/24)
//! are refused with the block they are in. Azure's metadata server has a public address and is
//! refused by name; those of other clouds are in blocks that are refused anyway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Network;

/// What "localhost" may resolve to.
pub(super) const LOOPBACK: [Network; 2] =
    [Network::v4([127, 0, 0, 0], 8), Network { first: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 }];

/// The first that contains an address gives the reason; narrow ones stand before wide ones.
const SPECIAL_V4: [(Network, &str); 19] = [
    (Network::v4([0, 0, 0, 0], 32), "unspecified (RFC 1122)"),
    (Network::v4([0, 0, 0, 0], 8), "this network (RFC 791)"),
    (Network::v4([10, 0, 0, 0], 8), "private (RFC 1918)"),
    (Network::v4([100, 100, 100, 200], 32), "a cloud's metadata (Alibaba)"),
    (Network::v4([100, 64, 0, 0], 10), "shared (RFC 6598)"),
    (Network::v4([127, 0, 0, 0], 8), "loopback (RFC 1122)"),
    (Network::v4([168, 63, 129, 16], 32), "a cloud's metadata (Azure)"),
    (Network::v4([169, 254, 169, 254], 32), "a cloud's metadata"),
    (Network::v4([169, 254, 0, 0], 16), "link-local (RFC 3927)"),
    (Network::v4([172, 16, 0, 0], 12), "private (RFC 1918)"),
    (Network::v4([192, 0, 0, 0], 24), "of IETF protocols (RFC 6890)"),
    (Network::v4([192, 0, 2, 0], 24), "documentation (RFC 5737)"),
    (Network::v4([192, 88, 99, 0], 24), "6to4 relays (RFC 7526)"),
    (Network::v4([192, 168, 0, 0], 16), "private (RFC 1918)"),
    (Network::v4([198, 18, 0, 0], 15), "benchmarking (RFC 2544)"),
    (Network::v4([198, 51, 100, 0], 24), "documentation (RFC 5737)"),
    (Network::v4([203, 0, 113, 0], 24), "documentation (RFC 5737)"),
    (Network::v4([224, 0, 0, 0], 4), "multicast (RFC 1112)"),
    // The last of them, 255.255.255.255, is broadcast.
    (Network::v4([240, 0, 0, 0], 4), "reserved or broadcast (RFC 1112, RFC 919)"),
];

const SPECIAL_V6: [(Network, &str); 19] = [
    (Network { first: IpAddr::V6(Ipv6Addr::UNSPECIFIED), bits: 128 }, "unspecified (RFC 4291)"),
    (Network { first: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 }, "loopback (RFC 4291)"),
    (Network { first: IpAddr::V6(MAPPED), bits: 96 }, "IPv4-mapped (RFC 4291)"),
    (Network { first: IpAddr::V6(TRANSLATED), bits: 96 }, "IPv4-translated (RFC 7915)"),
    (Network::v6([0; 4], 96), "IPv4-compatible (RFC 4291)"),
    (Network::v6([0x64, 0xff9b, 0, 0], 96), "NAT64 (RFC 6052)"),
    (Network::v6([0x64, 0xff9b, 1, 0], 48), "NAT64 (RFC 8215)"),
    (Network::v6([0x100, 0, 0, 0], 63), "discarded (RFC 6666, RFC 9780)"),
    (Network::v6([0x2001, 0, 0, 0], 32), "Teredo (RFC 4380)"),
    (Network::v6([0x2001, 2, 0, 0], 48), "benchmarking (RFC 5180)"),
    (Network::v6([0x2001, 0, 0, 0], 23), "of IETF protocols (RFC 2928)"),
    (Network::v6([0x2001, 0xdb8, 0, 0], 32), "documentation (RFC 3849)"),
    (Network::v6([0x2002, 0, 0, 0], 16), "6to4 (RFC 3056)"),
    (Network::v6([0x3fff, 0, 0, 0], 20), "documentation (RFC 9637)"),
    (Network::v6([0x5f00, 0, 0, 0], 16), "segment routing (RFC 9602)"),
    (Network::v6([0xfc00, 0, 0, 0], 7), "unique local (RFC 4193)"),
    (Network::v6([0xfe80, 0, 0, 0], 10), "link-local (RFC 4291)"),
    (Network::v6([0xfec0, 0, 0, 0], 10), "site-local (RFC 3879)"),
    (Network::v6([0xff00, 0, 0, 0], 8), "multicast (RFC 4291)"),
];

const UNICAST_V6: Network = Network::v6([0x2000, 0, 0, 0], 3);

const MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
const TRANSLATED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0);

/// Why an address is not public; none if it is.
pub(super) fn reason(address: IpAddr) -> Option<&'static str> {
    let (table, others) = match address {
        IpAddr::V4(_) => (&SPECIAL_V4, None),
        IpAddr::V6(_) if UNICAST_V6.contains(address) => (&SPECIAL_V6, None),
        IpAddr::V6(_) => (&SPECIAL_V6, Some("reserved (RFC 4291)")),
    };
    let found = table.iter().find(|(network, _)| network.contains(address));
    found.map(|&(_, reason)| reason).or(others)
}

/// The IPv4 addresses to which a network may lead packets that are for this IPv6 address.
pub(super) fn carried(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let groups = address.segments();
    let pair = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let [.., high, low] = groups;
    let last = pair(high, low);
    let found = match groups {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        // NAT64 under a prefix of its own: of 48 bits, around the byte that stays zero, or of 96
        // (RFC 6052 §2.2). Which one cannot be seen, but the place that is not used is zero.
        [0x64, 0xff9b, 1, first, second, third, ..] => {
            let used = |carried: &Ipv4Addr| !carried.is_unspecified();
            let around = pair(first, second << 8 | third >> 8);
            [Some(around).filter(used), Some(last).filter(used)]
        }
        [0x2002, first, second, ..] => [Some(pair(first, second)), None],
        // Teredo's server, and its client, whose bits are inverted (RFC 4380 §4).
        [0x2001, 0, first, second, ..] => [Some(pair(first, second)), Some(pair(!high, !low))],
        // Compatible and mapped, translated, NAT64 under the prefix for everybody, and ISATAP
        // under any prefix (RFC 5214 §6.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [Some(last), None],
        _ => [None, None],
    };
    found.into_iter().flatten()
}
