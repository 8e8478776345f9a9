//! Names to addresses, by the system's resolver on threads of its own.
//!
//! The system's resolver blocks, for minutes if name servers are silent, and cannot be stopped.
//! So there are eight threads for the whole process that do nothing else, everybody who asks for
//! the same name waits for the same look-up, and an answer serves for ten seconds. Whoever stops
//! waiting drops the future. A look-up nobody waits for any longer is not begun; one that has
//! begun goes on, counts as abandoned, and still serves whoever asks next. Failures are not kept.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ::url::Host;

use self::lookups::{Lookups, SYSTEM};
use crate::error::{Error, Kind};

mod lookups;

/// How many look-ups have been abandoned in this process after they had begun.
#[must_use]
pub(super) fn abandoned() -> u64 {
    SYSTEM.abandoned()
}

/// The system's resolver, behind the addresses that a client gives itself.
#[derive(Debug)]
pub(super) struct Resolver {
    /// By name, and by the port if one was given.
    overrides: HashMap<(String, Option<u16>), Vec<Override>>,
    lookups: &'static Lookups,
}

#[derive(Clone, Copy, Debug)]
struct Override {
    address: IpAddr,
    /// The port to dial instead of the URL's.
    port: Option<u16>,
}

impl Resolver {
    /// A resolver with `overrides` from "host" or "host:port" to "ip" or "ip:port". A name that
    /// comes several times has several addresses; one with a port outranks one without.
    ///
    /// # Errors
    /// `InvalidUrl` for anything else.
    pub(super) fn new(overrides: &[(String, String)]) -> Result<Self, Error> {
        let mut known: HashMap<_, Vec<Override>> = HashMap::new();
        for (name, address) in overrides {
            let name = key(name).ok_or_else(|| invalid(name, "host\" or \"host:port"))?;
            let address = target(address).ok_or_else(|| invalid(address, "ip\" or \"ip:port"))?;
            known.entry(name).or_default().push(address);
        }
        Ok(Self { overrides: known, lookups: &SYSTEM })
    }

    /// The addresses of `host` with `port`, in the order of the system (RFC 6724).
    ///
    /// # Errors
    /// `Dns` when there are none; `PoolFull` when 10,000 other names wait, `Resources` without a
    /// thread, `Forked` in a child process.
    pub(super) async fn lookup(&self, host: &str, port: u16) -> Result<Arc<[SocketAddr]>, Error> {
        if let Some(known) = self.overridden(host, port) {
            return Ok(known);
        }
        if is_loopback_name(host) {
            return Ok([IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)]
                .map(|address| SocketAddr::new(address, port))
                .into());
        }
        let mut found = self.lookups.find(host).await?;
        for address in Arc::make_mut(&mut found) {
            address.set_port(port);
        }
        Ok(found)
    }

    fn overridden(&self, host: &str, port: u16) -> Option<Arc<[SocketAddr]>> {
        if self.overrides.is_empty() {
            return None;
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let with_port = self.overrides.get(&(name.clone(), Some(port)));
        let known = with_port.or_else(|| self.overrides.get(&(name, None)))?;
        Some(
            known
                .iter()
                .map(|one| SocketAddr::new(one.address, one.port.unwrap_or(port)))
                .collect(),
        )
    }
}

/// Names below "localhost" are this machine, whatever a name server says (RFC 6761 §6.3).
/// "localhost" itself is left to the system, whose hosts file may have one family only.
fn is_loopback_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let tail = host.len().checked_sub(".localhost".len()).and_then(|at| host.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(".localhost"))
}

fn key(text: &str) -> Option<(String, Option<u16>)> {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (text, None),
    };
    match Host::parse(name.trim_end_matches('.')) {
        Ok(Host::Domain(name)) => Some((name, port)),
        _ => None,
    }
}

fn target(text: &str) -> Option<Override> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Some(Override { address: both.ip(), port: Some(both.port()) });
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    Some(Override { address: bare.parse().ok()?, port: None })
}

fn invalid(text: &str, wanted: &str) -> Error {
    Error::new(Kind::InvalidUrl, format!("resolve: {text:?} is not \"{wanted}\""))
}

#[cfg(test)]
mod tests;
