//! What a client has done so far, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::exchange::waiting;
use super::pool::Pool;
use super::resolve::abandoned;
use crate::error::Error;
use crate::runtime;

/// Counters of one client. Relaxed throughout: each stands for itself.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) reused: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) redirected: AtomicU64,
    pub(super) http2: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) decoded: AtomicU64,
}

impl Counters {
    const fn new() -> Self {
        Self {
            requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            redirected: AtomicU64::new(0),
            http2: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            decoded: AtomicU64::new(0),
        }
    }
}

/// What the clients that are gone have counted.
static PAST: Counters = Counters::new();

/// The clients there are. Locked for a moment, by whoever makes a client or asks for the sum.
static LIVE: Mutex<Vec<(Weak<Counters>, Weak<Pool>)>> = Mutex::new(Vec::new());

impl Drop for Counters {
    fn drop(&mut self) {
        for (past, own) in [
            (&PAST.requests, &self.requests),
            (&PAST.opened, &self.opened),
            (&PAST.reused, &self.reused),
            (&PAST.replayed, &self.replayed),
            (&PAST.retried, &self.retried),
            (&PAST.redirected, &self.redirected),
            (&PAST.http2, &self.http2),
            (&PAST.failed, &self.failed),
            (&PAST.sent, &self.sent),
            (&PAST.received, &self.received),
            (&PAST.decoded, &self.decoded),
        ] {
            add(past, own.load(Ordering::Relaxed));
        }
    }
}

/// Counts a client in [`Stats::of_process`].
pub(super) fn count_in(counters: &Arc<Counters>, pool: &Arc<Pool>) {
    if runtime::check_alive().is_err() {
        return; // the parent may have been in here when it forked
    }
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|(counters, _)| counters.strong_count() > 0);
    live.push((Arc::downgrade(counters), Arc::downgrade(pool)));
}

/// What `client.stats()` shows; all counts are since the client was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Requests begun.
    pub requests: u64,
    /// Requests under way now, besides those that wait for a connection.
    pub in_flight: u64,
    /// Requests that wait for a connection now.
    pub queued: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Connections made.
    pub opened: u64,
    /// Connections open now.
    pub connections: u64,
    /// HTTP/1 connections kept for later now.
    pub idle: u64,
    /// Exchanges on a connection that had served before.
    pub reused: u64,
    /// Exchanges over HTTP/2.
    pub http2: u64,
    /// Requests sent again because their connection had gone stale.
    pub replayed: u64,
    /// Tries again after a failure or a status.
    pub retried: u64,
    /// Redirects followed.
    pub redirected: u64,
    /// Look-ups of names that nobody waits for any more, of the whole process.
    pub abandoned_lookups: u64,
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of response bodies on the wire.
    pub bytes_received: u64,
    /// Bytes of response bodies when decoded.
    pub bytes_decoded: u64,
}

impl Stats {
    pub(super) fn of(counters: &Counters, pool: Option<&Pool>) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let queued = pool.map(waiting).unwrap_or_default();
        Self {
            requests: read(&counters.requests),
            in_flight: read(&counters.in_flight).saturating_sub(queued),
            queued,
            failed: read(&counters.failed),
            opened: read(&counters.opened),
            connections: pool.map_or(0, Pool::open_connections) as u64,
            idle: pool.map_or(0, Pool::idle_connections) as u64,
            reused: read(&counters.reused),
            http2: read(&counters.http2),
            replayed: read(&counters.replayed),
            retried: read(&counters.retried),
            redirected: read(&counters.redirected),
            abandoned_lookups: abandoned(),
            bytes_sent: read(&counters.sent),
            bytes_received: read(&counters.received),
            bytes_decoded: read(&counters.decoded),
        }
    }

    /// What all clients of this process have done, those that are gone included, and how many
    /// there are now.
    ///
    /// # Errors
    /// `Forked`.
    pub fn of_process() -> Result<(Self, usize), Error> {
        runtime::check_alive()?;
        let mut sum = Self::of(&PAST, None);
        let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut clients = 0;
        for (counters, pool) in live {
            let Some(counters) = counters.upgrade() else { continue };
            clients += usize::from(pool.strong_count() > 0);
            sum = sum.and(Self::of(&counters, pool.upgrade().as_deref()));
        }
        Ok((sum, clients))
    }

    fn and(self, more: Self) -> Self {
        Self {
            requests: self.requests + more.requests,
            in_flight: self.in_flight + more.in_flight,
            queued: self.queued + more.queued,
            failed: self.failed + more.failed,
            opened: self.opened + more.opened,
            connections: self.connections + more.connections,
            idle: self.idle + more.idle,
            reused: self.reused + more.reused,
            http2: self.http2 + more.http2,
            replayed: self.replayed + more.replayed,
            retried: self.retried + more.retried,
            redirected: self.redirected + more.redirected,
            abandoned_lookups: self.abandoned_lookups,
            bytes_sent: self.bytes_sent + more.bytes_sent,
            bytes_received: self.bytes_received + more.bytes_received,
            bytes_decoded: self.bytes_decoded + more.bytes_decoded,
        }
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Counts something while it lasts.
#[derive(Debug)]
pub(super) struct While<'a>(&'a AtomicU64);

impl<'a> While<'a> {
    pub(super) fn counting(counter: &'a AtomicU64) -> Self {
        add(counter, 1);
        Self(counter)
    }
}

impl Drop for While<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
