//! What is known of one origin: its limits, its idle connections, the shared one of HTTP/2.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::connection::{Http1, Http2};
use super::{Limits, lock, semaphore};
use crate::limit::Rate;

/// What an origin was last seen to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fetch) enum Speaks {
    Unknown,
    Http1,
    Http2,
}

/// Everything known of one origin (`scheme://host:port`).
#[derive(Debug)]
pub(in crate::fetch) struct Host {
    pub(super) connections: Arc<Semaphore>,
    pub(super) requests: Option<Arc<Semaphore>>,
    pub(in crate::fetch) rate: Option<Rate>,
    /// The latest used last.
    pub(super) idle: Mutex<Vec<(Http1, Instant)>>,
    pub(super) shared: Mutex<Option<Arc<Http2>>>,
    /// Held while a connection is made that others may share.
    pub(in crate::fetch) dialling: tokio::sync::Mutex<()>,
    /// A hint, hence Relaxed: a wrong one costs a connection or a wait.
    speaks: AtomicU8,
}

impl Host {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.per_host.min(Semaphore::MAX_PERMITS))),
            requests: limits.per_host_requests.map(semaphore),
            rate: limits.rate.map(|rate| Rate::new(rate, 1)),
            idle: Mutex::default(),
            shared: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
            speaks: AtomicU8::new(Speaks::Unknown as u8),
        }
    }

    pub(in crate::fetch) fn speaks(&self) -> Speaks {
        match self.speaks.load(Ordering::Relaxed) {
            1 => Speaks::Http1,
            2 => Speaks::Http2,
            _ => Speaks::Unknown,
        }
    }

    pub(in crate::fetch) fn learn(&self, speaks: Speaks) {
        self.speaks.store(speaks as u8, Ordering::Relaxed);
    }

    /// The idle connection that was used last, if there is one that still stands.
    pub(in crate::fetch) fn checkout(&self, idle: Duration) -> Option<Http1> {
        let mut connections = lock(&self.idle);
        while let Some((connection, since)) = connections.pop() {
            if !connection.sender.is_closed() && since.elapsed() < idle {
                return Some(connection);
            }
        }
        None
    }

    /// The shared connection, if there is one that still stands.
    pub(in crate::fetch) fn shared(&self) -> Option<Arc<Http2>> {
        let mut shared = lock(&self.shared);
        let standing = shared.as_ref().filter(|it| !it.sender.is_closed()).map(Arc::clone);
        if standing.is_none() {
            *shared = None;
        }
        standing
    }

    pub(in crate::fetch) fn share(&self, connection: Http2) -> Arc<Http2> {
        let connection = Arc::new(connection);
        let replaced = lock(&self.shared).replace(Arc::clone(&connection));
        drop(replaced);
        connection
    }

    /// Lets go of `connection`, so that the next request makes a new one.
    pub(in crate::fetch) fn retire(&self, connection: &Arc<Http2>) {
        let mut shared = lock(&self.shared);
        if shared.as_ref().is_some_and(|it| Arc::ptr_eq(it, connection)) {
            *shared = None;
        }
    }

    /// When its oldest idle connection was used last.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let kept = lock(&self.idle).first().map(|(_, since)| *since);
        let shared = lock(&self.shared);
        let shared = shared.as_ref().and_then(|it| Instant::now().checked_sub(it.idle_for()?));
        kept.into_iter().chain(shared).min()
    }

    pub(super) fn close_oldest(&self) {
        let mut idle = lock(&self.idle);
        let closed = (!idle.is_empty()).then(|| idle.remove(0));
        drop(idle);
        if closed.is_none() {
            let mut shared = lock(&self.shared);
            if shared.as_ref().is_some_and(|it| it.idle_for().is_some()) {
                *shared = None;
            }
        }
    }

    /// Closes what has been idle for too long; false when nothing is left to watch.
    pub(super) fn prune(&self, timeout: Duration) -> bool {
        let mut idle = lock(&self.idle);
        idle.retain(|(connection, since)| {
            !connection.sender.is_closed() && since.elapsed() < timeout
        });
        let kept = !idle.is_empty();
        drop(idle);
        let mut shared = lock(&self.shared);
        let gone = |it: &Arc<Http2>| {
            it.sender.is_closed() || it.idle_for().is_some_and(|idle| idle >= timeout)
        };
        if shared.as_ref().is_some_and(gone) {
            *shared = None;
        }
        kept || shared.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.idle).is_empty() && lock(&self.shared).is_none()
    }
}
