//! Whose turn it is: requests that wait, by host, and how many more are wanted from their source.
//!
//! No clock, no thread, no request in here: it is told what happens and when, and says what may
//! start. The host with the fewest requests under way goes first, those with as many in turn, so
//! that hosts share the limit evenly however slow some of them are (max-min fairness). A host that
//! has no place left, or has to be left alone for a while, is passed over.
//!
//! Laws: never more than `limit` under way, never more than a host's cap under way at that host;
//! never more than [`AHEAD`] times `limit` (or [`AHEAD_LEAST`]) waiting.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::adaptive::{Sign, Window};
use crate::limit::Rate;

/// So many times the limit may wait, most of them for hosts that have no place; arbitrary.
const AHEAD: usize = 64;
/// But no fewer than this.
const AHEAD_LEAST: usize = 1024;
/// After so many times the limit that were all for hosts without a place, the source is taken to
/// have no others for now; arbitrary.
const BLIND: usize = 2;
/// But not after fewer than this.
const BLIND_LEAST: usize = 64;
/// In order, so many times the limit are between the source and its reader.
const ORDERED: usize = 4;
/// For so long a host that had nothing else under way finds places kept; arbitrary.
const RECENT: Duration = Duration::from_millis(100);
/// Hosts remembered beyond those in use; arbitrary.
const HOSTS: usize = 1024;
/// The most hosts that are remembered for their rate or their window; arbitrary.
const HOSTS_MOST: usize = 16 * HOSTS;

/// How many requests may be under way.
#[derive(Debug)]
pub(super) struct Rules {
    /// In all.
    pub(super) limit: usize,
    /// At one host; `None` is found out.
    pub(super) per_host: Option<usize>,
    /// At one host, if it is found out.
    pub(super) most: usize,
    /// Starts per second and host.
    pub(super) rate: Option<Rate>,
    /// A host's first start, too, waits as long as the rate has it wait between two.
    pub(super) rate_first: bool,
    /// The most that waits, if it is not for the scheduler to say.
    pub(super) ahead: Option<usize>,
    /// Results are handed out in the order of the source.
    pub(super) ordered: bool,
}

/// One host's number, valid as long as something of it is under way, away, or waiting.
pub(super) type HostKey = usize;

/// What waits, by host; `E` is what is waiting.
#[derive(Debug)]
pub(super) struct Schedule<E> {
    rules: Rules,
    hosts: Slab<Host<E>>,
    by_origin: HashMap<Arc<str>, HostKey>,
    /// Hosts that may start something: fewest under way first, then the one that waited longest.
    ready: BTreeSet<(usize, u64, HostKey)>,
    /// Hosts that might, were it not too early.
    later: BTreeSet<(Instant, HostKey)>,
    /// Counts the starts.
    turn: u64,
    pub(super) in_flight: usize,
    pub(super) waiting: usize,
    /// Of those that wait, the ones that lack nothing but room within the limit.
    useful: usize,
    /// How many came in a row without being useful.
    blind: usize,
    /// With so many hosts it is time to forget some.
    forget_at: usize,
    /// The latest two hosts that started something with nothing else under way, and when.
    light: [Option<(HostKey, Instant)>; 2],
    /// Until when places are kept from a host that would take one.
    kept_until: Option<Instant>,
}

#[derive(Debug)]
struct Host<E> {
    origin: Arc<str>,
    queue: VecDeque<E>,
    in_flight: usize,
    /// Not under way, but going to come back.
    away: usize,
    window: Option<Window>,
    /// Nothing starts before.
    not_before: Option<Instant>,
    /// When the rate allows the next start.
    due: Instant,
    /// Since when something has been waiting.
    since: Instant,
    turn: u64,
    place: Place,
    /// Its part of `useful`.
    useful: usize,
}

/// In which list a host stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Nowhere,
    Ready(usize, u64),
    Later(Instant),
}

impl<E> Schedule<E> {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            hosts: Slab::new(),
            by_origin: HashMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            turn: 0,
            in_flight: 0,
            waiting: 0,
            useful: 0,
            blind: 0,
            forget_at: HOSTS,
            light: [None; 2],
            kept_until: None,
        }
    }

    /// The key of an origin.
    pub(super) fn host(&mut self, origin: &str, now: Instant) -> HostKey {
        if let Some(&key) = self.by_origin.get(origin) {
            return key;
        }
        if self.hosts.len() >= self.forget_at {
            self.forget(now);
        }
        let origin: Arc<str> = Arc::from(origin);
        let most = self.rules.most;
        let interval = self.rules.rate.as_ref().map_or(Duration::ZERO, Rate::interval);
        let key = self.hosts.insert(Host {
            origin: Arc::clone(&origin),
            queue: VecDeque::new(),
            in_flight: 0,
            away: 0,
            window: self.rules.per_host.is_none().then(|| Window::new(most)),
            not_before: None,
            due: if self.rules.rate_first { now + interval } else { now },
            since: now,
            turn: 0,
            place: Place::Nowhere,
            useful: 0,
        });
        self.by_origin.insert(origin, key);
        key
    }

    /// Something new waits for its turn at `host`.
    pub(super) fn push(&mut self, host: HostKey, entry: E, now: Instant) {
        let before = self.useful;
        let Some(it) = self.hosts.get_mut(host) else { return };
        if it.queue.is_empty() {
            it.since = now;
        }
        it.queue.push_back(entry);
        self.waiting += 1;
        self.reseat(host, now);
        self.blind = if self.useful > before { 0 } else { self.blind + 1 };
    }

    /// Something that was under way before waits for its turn again, in front of what is new.
    pub(super) fn push_back_in(&mut self, host: HostKey, entry: E, now: Instant) {
        let Some(it) = self.hosts.get_mut(host) else { return };
        it.queue.push_front(entry);
        self.waiting += 1;
        self.reseat(host, now);
    }

    /// Takes what may start now; it counts as under way from here.
    pub(super) fn start(&mut self, now: Instant) -> Option<(HostKey, E)> {
        while let Some(&(time, host)) = self.later.first().filter(|(time, _)| *time <= now) {
            self.later.remove(&(time, host));
            self.reseat(host, now);
        }
        self.kept_until = None;
        if self.in_flight >= self.rules.limit {
            return None;
        }
        while let Some(&(_, _, host)) = self.ready.first() {
            self.kept_until = self.kept_from(host, now);
            let it = self.hosts.get_mut(host)?;
            if self.kept_until.is_some() {
                return None; // all others have as many under way
            }
            if let Some(rate) = &self.rules.rate
                && let Err(due) = rate.take(&mut it.due, it.since, now)
            {
                it.not_before = it.not_before.max(Some(due));
                self.reseat(host, now);
                continue;
            }
            let entry = it.queue.pop_front()?;
            if it.in_flight == 0 {
                let [latest, _] = self.light;
                let other = latest.filter(|(latest, _)| *latest != host);
                self.light = [Some((host, now)), other.or(self.light[1])];
            }
            self.turn += 1;
            it.turn = self.turn;
            it.in_flight += 1;
            self.in_flight += 1;
            self.waiting -= 1;
            self.blind = self.blind.saturating_sub(1);
            self.reseat(host, now);
            return Some((host, entry));
        }
        None
    }

    /// Something that began then is no longer under way.
    pub(super) fn leave(&mut self, host: HostKey, sign: Sign, began: Instant, now: Instant) {
        let cap = self.cap(host);
        let Some(it) = self.hosts.get_mut(host) else { return };
        let full = it.in_flight >= cap;
        if let Some(window) = &mut it.window {
            window.learn(sign, began, now, full);
        }
        it.in_flight = it.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.reseat(host, now);
    }

    /// Something of `host` will come back (`true`), or has or will not (`false`).
    pub(super) fn away(&mut self, host: HostKey, gone: bool) {
        if let Some(it) = self.hosts.get_mut(host) {
            it.away = if gone { it.away + 1 } else { it.away.saturating_sub(1) };
        }
    }

    /// Nothing starts at `host` before `until`.
    pub(super) fn pause(&mut self, host: HostKey, until: Instant, now: Instant) {
        if let Some(it) = self.hosts.get_mut(host) {
            it.not_before = it.not_before.max(Some(until));
            self.reseat(host, now);
        }
    }

    /// When something may start that may not now.
    pub(super) fn next_time(&self) -> Option<Instant> {
        let later = self.later.first().map(|(time, _)| *time);
        later.into_iter().chain(self.kept_until).min()
    }

    /// Until when the places that are left are kept from `host`, if they are.
    fn kept_from(&self, host: HostKey, now: Instant) -> Option<Instant> {
        let free = self.rules.limit - self.in_flight.min(self.rules.limit);
        if 4 * free > self.rules.limit || self.hosts.get(host)?.in_flight < 2 {
            return None;
        }
        let others = self.light.iter().flatten().filter(|(other, _)| *other != host);
        let until = others.map(|(_, time)| *time + RECENT).max()?;
        (until > now).then_some(until)
    }

    /// How many more are wanted, of which `outstanding` are not with the reader yet and `unread`
    /// are finished; none as long as it is not worth a call.
    pub(super) fn wanted(&self, outstanding: usize, unread: usize) -> usize {
        let limit = self.rules.limit;
        if unread >= limit {
            return 0;
        }
        let ahead = limit.saturating_mul(AHEAD).max(AHEAD_LEAST);
        let blind = limit.saturating_mul(BLIND).max(BLIND_LEAST);
        let mut room = limit
            .saturating_sub(self.useful)
            .min(ahead.saturating_sub(self.waiting))
            .min(blind.saturating_sub(self.blind))
            .min(self.rules.ahead.map_or(usize::MAX, |ahead| ahead.saturating_sub(self.waiting)));
        if self.rules.ordered {
            room = room.min(limit.saturating_mul(ORDERED).saturating_sub(outstanding));
        }
        let worth = limit.div_ceil(4).min(64);
        let idle = self.in_flight + self.waiting == 0;
        if room >= worth || idle { room } else { 0 }
    }

    /// Everything that waits; nothing is left.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = E> + use<E> {
        self.ready.clear();
        self.later.clear();
        self.by_origin.clear();
        (self.waiting, self.useful) = (0, 0);
        std::mem::take(&mut self.hosts).into_iter().flat_map(|(_, host)| host.queue)
    }

    fn cap(&self, host: HostKey) -> usize {
        let learned = self.hosts.get(host).and_then(|it| it.window.as_ref()).map(Window::cap);
        self.rules.per_host.or(learned).unwrap_or(1)
    }

    /// Puts `host` where it belongs after anything about it has changed.
    fn reseat(&mut self, host: HostKey, now: Instant) {
        let cap = self.cap(host);
        let Some(it) = self.hosts.get_mut(host) else { return };
        match it.place {
            Place::Ready(in_flight, turn) => drop(self.ready.remove(&(in_flight, turn, host))),
            Place::Later(time) => drop(self.later.remove(&(time, host))),
            Place::Nowhere => {}
        }
        let early = it.not_before.filter(|time| *time > now);
        if early.is_none() {
            it.not_before = None;
        }
        it.place = match early {
            _ if it.queue.is_empty() || it.in_flight >= cap => Place::Nowhere,
            Some(time) => Place::Later(time),
            None => Place::Ready(it.in_flight, it.turn),
        };
        match it.place {
            Place::Ready(in_flight, turn) => drop(self.ready.insert((in_flight, turn, host))),
            Place::Later(time) => drop(self.later.insert((time, host))),
            Place::Nowhere => {}
        }
        // What waits for others of its own host to end does not help when another's place gets free.
        let useful =
            if early.is_some() { 0 } else { it.queue.len().min(cap - it.in_flight.min(cap)) };
        self.useful = self.useful + useful - it.useful;
        it.useful = useful;
    }

    /// Lets go of hosts of which nothing waits and nothing has to be remembered.
    fn forget(&mut self, now: Instant) {
        for strict in [false, true] {
            self.hosts.retain(|_, it| {
                let remembered =
                    it.window.is_some() || it.due > now || it.not_before.is_some_and(|it| it > now);
                let kept =
                    !it.queue.is_empty() || it.in_flight + it.away > 0 || (remembered && !strict);
                if !kept {
                    self.by_origin.remove(&it.origin);
                }
                kept
            });
            if self.hosts.len() < HOSTS_MOST {
                break;
            }
        }
        // The cost of looking at all of them is spread over as many new ones.
        self.forget_at = (2 * self.hosts.len()).max(HOSTS);
    }
}

#[cfg(test)]
mod tests;
