//! `NO_PROXY`: the hosts that are reached without the proxy of the environment.
//!
//! Entries are separated by commas or blanks; case, and dots at the end of names, do not matter.
//!
//! | entry | covers | but not |
//! |---|---|---|
//! | `*` | every host | |
//! | `example.org`, `.example.org` | example.org, www.example.org | notexample.org |
//! | `10.1.2.3`, `::1`, `[::1]` | this address as it stands in the URL | names that resolve to it |
//! | `10.0.0.0/8`, `fd00::/8` | the addresses of the network, likewise | |
//! | `example.org:8080`, `[::1]:8080`, `*:8080` | the same hosts on this port | other ports |
//! | `*.example.org`, `10.`, anything else | nothing | |
//!
//! These are the rules of curl 8 (`lib/noproxy.c`) and some more. curl has no entries with a port
//! or brackets, takes `*` only if it stands alone, compares names that are not ASCII as they are
//! written, and reads a prefix of no bits as one of all.

use std::net::IpAddr;

use ::url::{Host, Url};

use crate::fetch::guard::Network;

/// The entries of a `NO_PROXY`.
#[derive(Clone, Debug, Default)]
pub(super) struct Bypass {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    hosts: Hosts,
    /// All ports, or this one.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Hosts {
    All,
    /// In lower case and punycode, without dots at either end.
    Domain(String),
    Network(Network),
}

impl Bypass {
    /// Reads the value of the variable; what is no entry covers nothing.
    pub(super) fn parse(text: &str) -> Self {
        let entries = text.split(|c: char| c == ',' || c.is_whitespace());
        Self { entries: entries.filter_map(Entry::parse).collect() }
    }

    /// Whether `url` is to be reached directly.
    pub(super) fn covers(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let port = url.port_or_known_default();
        self.entries
            .iter()
            .any(|entry| (entry.port.is_none() || entry.port == port) && entry.hosts.contain(&host))
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if let Some((address, bits)) = text.split_once('/') {
            let network = Network::around(address.parse().ok()?, bits.parse().ok()?)?;
            return Some(Self { hosts: Hosts::Network(network), port: None });
        }
        // An IPv6 address has colons, but no port outside of brackets.
        if let Ok(address) = text.parse() {
            return Some(Self { hosts: Hosts::one(address)?, port: None });
        }
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        if let Some((address, rest)) = bracketed {
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':')?.parse().ok()?),
            };
            return Some(Self { hosts: Hosts::one(address.parse().ok()?)?, port });
        }
        match text.split_once(':') {
            None => Some(Self { hosts: Hosts::parse(text)?, port: None }),
            Some((host, port)) => {
                Some(Self { hosts: Hosts::parse(host)?, port: Some(port.parse().ok()?) })
            }
        }
    }
}

impl Hosts {
    fn one(address: IpAddr) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Network::around(address, bits).map(Self::Network)
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(address) = text.parse() {
            return Self::one(address);
        }
        let text = text.strip_prefix('.').unwrap_or(text).trim_end_matches('.');
        match Host::parse(text) {
            Ok(Host::Domain(name)) => Some(Self::Domain(name)),
            // What a browser takes for an address, as "10." or "0x7f.1", is no entry here.
            Ok(_) | Err(_) => None,
        }
    }

    fn contain(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Domain(domain), Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let before = name.strip_suffix(domain.as_str());
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            (Self::Network(network), Host::Ipv4(address)) => network.contains((*address).into()),
            (Self::Network(network), Host::Ipv6(address)) => network.contains((*address).into()),
            (Self::Domain(_), _) | (Self::Network(_), Host::Domain(_)) => false,
        }
    }
}
