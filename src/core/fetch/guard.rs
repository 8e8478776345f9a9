//! The guard against requests to places inside (SSRF): which URLs and addresses may be dialled.
//!
//! Every hop is judged twice: its URL before anything else, and all the addresses its name
//! resolves to, before one of them is dialled. One bad address refuses the whole answer, as an
//! attacker's name server may mix them. Whoever dials has to dial the very addresses that were
//! judged here, and to ask again for each new answer. `special` knows the addresses.
//!
//! The networks of `allow` win over everything but the ports. An IPv6 address that carries an
//! IPv4 one is allowed only if both are: `allow` of `64:ff9b::/96` opens NAT64 to public IPv4
//! addresses, and not to private ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ::url::{Host, Url};

use crate::error::{Error, Kind, Phase};

mod special;

/// The addresses that begin with the same bits, as in 10.0.0.0/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Without the bits that differ.
    first: IpAddr,
    bits: u8,
}

/// What may be dialled: addresses that are public by IANA's registries of 2025-10, on some ports.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The ports that may be dialled; 80 and 443 by default.
    pub ports: Vec<u16>,
    /// The networks that may be dialled although they are not public; none by default.
    pub allow: Vec<Network>,
}

impl Network {
    /// Parses `10.0.0.0/8`, `fd00::/8`, or one address.
    ///
    /// # Errors
    /// `InvalidUrl` for anything else, also for an address with bits after the mask: 10.0.0.1/8
    /// may mean either, and a guard does not guess.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| {
            let text = format!("{text:?} is no network such as \"10.0.0.0/8\" or \"::1\": {why}");
            Error::new(Kind::InvalidUrl, text)
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused("the address is none"))?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => whole,
            // `parse` alone would take "+8" too.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| refused("the length of the prefix is no number"))?
            }
            Some(_) => return Err(refused("the length of the prefix is no number")),
        };
        let network =
            Self::around(address, bits).ok_or_else(|| refused("the prefix is too long"))?;
        if network.first == address {
            return Ok(network);
        }
        Err(refused(&format!("it has bits after the prefix; is {}/{bits} meant?", network.first)))
    }

    /// The network of so many bits that `address` is in; none if it has fewer bits.
    pub(in crate::fetch) fn around(address: IpAddr, bits: u8) -> Option<Self> {
        Some(Self { first: masked(address, bits)?, bits })
    }

    /// Whether `address` is in it. IPv4 addresses written as IPv6 ones are IPv6 here.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == Some(self.first)
    }

    /// Whether the two have an address in common: then the shorter prefix contains the other.
    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> Self {
        Self { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
    }

    /// By the first four of the eight groups; the others are zero.
    const fn v6([a, b, c, d]: [u16; 4], bits: u8) -> Self {
        Self { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), bits }
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self { ports: vec![80, 443], allow: Vec::new() }
    }
}

impl Guard {
    /// Judges a URL before its name is resolved: its port, an address in the place of a name, and
    /// the names that mean this machine (RFC 6761 §6.3).
    ///
    /// # Errors
    /// `BlockedAddress`.
    pub fn check_url(&self, url: &Url) -> Result<(), Error> {
        let port = url.port_or_known_default().unwrap_or_default();
        self.check_port(port)?;
        let address: IpAddr = match url.host() {
            Some(Host::Domain(name)) => return self.check_name(name),
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            None => return Err(blocked("a URL without a host")),
        };
        if !self.allows(address) {
            return Err(blocked(&format!("{address}: an address in the place of a name")));
        }
        self.check_address(SocketAddr::new(address, port))
    }

    /// Judges all addresses of one answer.
    ///
    /// # Errors
    /// `BlockedAddress` for the first bad one.
    pub fn check_all(&self, addresses: &[SocketAddr]) -> Result<(), Error> {
        addresses.iter().try_for_each(|&address| self.check_address(address))
    }

    /// Judges one address and its port.
    ///
    /// # Errors
    /// `BlockedAddress`.
    pub fn check_address(&self, address: SocketAddr) -> Result<(), Error> {
        self.check_port(address.port())?;
        self.judge(address.ip()).map_err(|reason| {
            let mut error = blocked(&format!("{}: {reason}", address.ip()));
            error.details().addresses.push((address.to_string(), reason));
            error
        })
    }

    fn check_port(&self, port: u16) -> Result<(), Error> {
        if self.ports.contains(&port) {
            return Ok(());
        }
        Err(blocked(&format!("port {port}")))
    }

    fn check_name(&self, name: &str) -> Result<(), Error> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        let loopback =
            |network: &Network| special::LOOPBACK.iter().any(|one| one.overlaps(network));
        // What it resolves to is judged as any other answer, so a part of loopback is enough here.
        if is_local && !self.allow.iter().any(loopback) {
            return Err(blocked(&format!("{name:?}: it means this machine")));
        }
        Ok(())
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(address))
    }

    /// The reason why an address may not be dialled.
    fn judge(&self, address: IpAddr) -> Result<(), String> {
        if !self.allows(address)
            && let Some(reason) = special::reason(address)
        {
            return Err(reason.to_owned());
        }
        let IpAddr::V6(address) = address else { return Ok(()) };
        special::carried(address).try_for_each(|inner| {
            self.judge(inner.into()).map_err(|reason| format!("it carries {inner}: {reason}"))
        })
    }
}

/// The address with the bits after the prefix zeroed; none if the prefix is longer than it.
fn masked(address: IpAddr, bits: u8) -> Option<IpAddr> {
    let bits = u32::from(bits);
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    })
}

fn blocked(what: &str) -> Error {
    Error::new(Kind::BlockedAddress, format!("the guard forbids {what}")).during(Phase::Connect)
}

#[cfg(test)]
mod tests;
