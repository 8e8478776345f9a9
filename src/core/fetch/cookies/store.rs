//! The cookies that are kept, which of them a request gets, and which have to go.
//!
//! By domain, so that a request looks at the few domains above its host and not at everything.
//! Law: `count` is the number of cookies in `domains`; no domain is empty; after every `put`,
//! no domain has more than [`PER_DOMAIN`] and the store not more than [`IN_ALL`].

use std::cmp::Reverse;
use std::collections::HashMap;

use super::cookie::{Cookie, is_below};
use super::domain::{Origin, is_within};

/// Cookies of one domain; the least that RFC 6265bis §6.1 wants.
pub(super) const PER_DOMAIN: usize = 50;

/// Cookies in all; the least that RFC 6265bis §6.1 wants.
pub(super) const IN_ALL: usize = 3000;

#[derive(Default)]
pub(super) struct Store {
    domains: HashMap<String, Vec<Cookie>>,
    count: usize,
    /// Counts puts and requests: an order that no clock can turn round.
    events: u64,
}

impl Store {
    /// The value of the `Cookie` header for a request.
    pub(super) fn line_for(&mut self, to: &Origin<'_>, now: i64) -> Option<Vec<u8>> {
        self.events += 1;
        let mut pairs = Vec::new();
        for domain in to.domains() {
            self.drop_from(domain, |cookie| cookie.is_expired(now));
            for cookie in self.domains.get_mut(domain).into_iter().flatten() {
                let meant = !cookie.host_only || domain.len() == to.host.len();
                if meant && (to.secure || !cookie.secure) && is_below(to.path, &cookie.path) {
                    cookie.used = self.events;
                    pairs.push((Reverse(cookie.path.len()), cookie.created, cookie.pair()));
                }
            }
        }
        pairs.sort_unstable();
        let pairs: Vec<_> = pairs.into_iter().map(|(_, _, pair)| pair).collect();
        (!pairs.is_empty()).then(|| pairs.join(&b"; "[..]))
    }

    /// Takes one `Set-Cookie`.
    pub(super) fn receive(&mut self, from: &Origin<'_>, line: &[u8], now: i64) {
        if let Some(cookie) = Cookie::parse(line, from, now)
            && (from.secure || !self.shadows(&cookie, now))
        {
            self.put(cookie, now);
        }
    }

    /// Keeps a cookie in place of the one like it; an expired one only takes that away.
    pub(super) fn put(&mut self, mut cookie: Cookie, now: i64) {
        self.events += 1;
        (cookie.created, cookie.used) = (self.events, self.events);
        let fellows = self.domains.entry(cookie.domain.clone()).or_default();
        if let Some(place) = fellows.iter().position(|old| cookie.replaces(old)) {
            cookie.created = fellows.swap_remove(place).created;
            self.count -= 1;
        }
        let domain = cookie.domain.clone();
        fellows.push(cookie);
        self.count += 1;
        self.drop_from(&domain, |cookie| cookie.is_expired(now));
        if self.domains.get(&domain).is_some_and(|fellows| fellows.len() > PER_DOMAIN) {
            self.evict_of(&domain);
        }
        if self.count > IN_ALL {
            self.remove(now, |_| false);
        }
        if self.count > IN_ALL {
            self.evict();
        }
    }

    /// Removes the cookies that `which` names, and those that have expired; how many of the
    /// former.
    pub(super) fn remove(&mut self, now: i64, which: impl Fn(&Cookie) -> bool) -> usize {
        let mut removed = 0;
        self.domains.retain(|_, fellows| {
            fellows.retain(|cookie| {
                let expired = cookie.is_expired(now);
                let named = !expired && which(cookie);
                removed += usize::from(named);
                !expired && !named
            });
            !fellows.is_empty()
        });
        self.count = self.domains.values().map(Vec::len).sum();
        removed
    }

    /// All cookies that have not expired, in the order in which they were created.
    pub(super) fn alive(&self, now: i64) -> Vec<&Cookie> {
        let all = self.domains.values().flatten();
        let mut alive: Vec<_> = all.filter(|cookie| !cookie.is_expired(now)).collect();
        alive.sort_unstable_by_key(|cookie| cookie.created);
        alive
    }

    /// Whether a cookie from an insecure origin would hide a secure one or stand in for it
    /// (RFC 6265bis §5.7, "leave secure cookies alone"). Paths compare in one direction only.
    fn shadows(&self, new: &Cookie, now: i64) -> bool {
        let related =
            |domain: &str| is_within(domain, &new.domain) || is_within(&new.domain, domain);
        self.domains.iter().filter(|(domain, _)| related(domain)).any(|(_, fellows)| {
            fellows.iter().any(|old| {
                old.secure
                    && !old.is_expired(now)
                    && old.name == new.name
                    && is_below(&new.path, &old.path)
            })
        })
    }

    /// Lets go of one cookie of a domain: of those that are not secure the one unused for
    /// longest, of the others only when there is none. So http cannot flush what https set.
    fn evict_of(&mut self, domain: &str) {
        let fellows = self.domains.get(domain).into_iter().flatten();
        let oldest = fellows.min_by_key(|cookie| (cookie.secure, cookie.used, cookie.created));
        if let Some(created) = oldest.map(|cookie| cookie.created) {
            self.drop_from(domain, |cookie| cookie.created == created);
        }
    }

    /// Lets go of the cookie that has been unused for longest.
    fn evict(&mut self) {
        let all = self.domains.values().flatten();
        let oldest = all.min_by_key(|cookie| (cookie.used, cookie.created));
        if let Some((domain, created)) = oldest.map(|old| (old.domain.clone(), old.created)) {
            self.drop_from(&domain, |cookie| cookie.created == created);
        }
    }

    fn drop_from(&mut self, domain: &str, which: impl Fn(&Cookie) -> bool) {
        let Some(fellows) = self.domains.get_mut(domain) else { return };
        let before = fellows.len();
        fellows.retain(|cookie| !which(cookie));
        self.count -= before - fellows.len();
        if fellows.is_empty() {
            self.domains.remove(domain);
        }
    }
}
