//! Which hosts share cookies: canonical names, public suffixes, domains and what is below them.
//!
//! `example.org.` and `example.org` are two hosts: a resolver's search list may give the second
//! another address, and browsers keep them apart, too.

use std::iter::successors;
use std::net::Ipv6Addr;

use psl::Psl;
use url::{Host, Url};

/// Where a request goes or a response comes from, as far as cookies care.
pub(super) struct Origin<'a> {
    /// The canonical host: lower case, punycode, IPv6 in brackets.
    pub(super) host: &'a str,
    /// A name, so that there can be hosts below it; otherwise an address.
    pub(super) named: bool,
    /// https; loopback over http is not secure.
    pub(super) secure: bool,
    /// The path, without query.
    pub(super) path: &'a str,
}

impl<'a> Origin<'a> {
    pub(super) fn of(url: &'a Url) -> Option<Self> {
        Some(Self {
            host: url.host_str()?,
            named: matches!(url.host(), Some(Host::Domain(_))),
            secure: url.scheme() == "https",
            path: url.path(),
        })
    }

    /// The domains whose cookies may be sent here, the host itself first.
    pub(super) fn domains(&self) -> impl Iterator<Item = &'a str> {
        let named = self.named;
        successors(Some(self.host), move |domain| {
            let (_, above) = domain.split_once('.').filter(|_| named)?;
            (!above.is_empty()).then_some(above)
        })
    }
}

/// The canonical form of a host that a person or a file names; `None` for anything that is not
/// plainly one.
pub(super) fn canonical(host: &str) -> Option<String> {
    if host.contains('%') {
        return None;
    }
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Some(Host::<&str>::Ipv6(address).to_string());
    }
    match Host::parse(host).ok()? {
        Host::Domain(name) if name.starts_with('.') || name.contains("..") => None,
        Host::Ipv4(address) if host.parse() != Ok(address) => None,
        host => Some(host.to_string()),
    }
}

/// Whether a canonical host is an address.
pub(super) fn is_address(host: &str) -> bool {
    !matches!(Host::parse(host), Ok(Host::Domain(_)))
}

/// Whether strangers may register names directly below this one. Names whose last label is on
/// no list count as if it were: rule `*` of <https://publicsuffix.org/list/>.
pub(super) fn is_public_suffix(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain).as_bytes();
    psl::List.suffix(domain).is_some_and(|suffix| suffix.as_bytes() == domain)
}

/// Whether a named host is `domain` or below it (RFC 6265bis §5.1.3).
pub(super) fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|below| below.is_empty() || below.ends_with('.'))
}
