//! Connections and who may have one: limits, queues, kept-alive connections, by origin.
//!
//! A connection of HTTP/1 is in one of two hands: the pool's, or a [`Lease`]'s. Only
//! `Lease::release`, called after the last byte of a body, brings it back; a lease that is dropped
//! closes the connection, so a half-read one can never serve another request. A connection of
//! HTTP/2 is shared by any number of leases. Permits are tokio's semaphores: first come, first
//! served, and given back when the lease goes, however it goes. The permit of the host is taken
//! before that of the client, by everybody, so nobody waits in a circle.

mod connection;
mod host;
mod lease;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) use connection::{Http1, Http2, Open, Proxied, Wire};
pub(super) use host::{Host, Speaks};
pub(super) use lease::{Connection, Lease, Permits};

use crate::runtime;

/// Hosts remembered beyond those in use; arbitrary.
const HOSTS: usize = 1024;

/// How much may be under way at once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections to one origin.
    pub per_host: usize,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// Requests under way in all, whatever their connections.
    pub requests: Option<usize>,
    /// Requests under way to one origin.
    pub per_host_requests: Option<usize>,
    /// Requests per second to one origin.
    pub rate: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100,
            per_host: 20,
            idle: Duration::from_secs(30),
            requests: None,
            per_host_requests: None,
            rate: None,
        }
    }
}

/// All origins of one client.
#[derive(Debug)]
pub(super) struct Pool {
    hosts: Mutex<Hosts>,
    connections: Arc<Semaphore>,
    requests: Option<Arc<Semaphore>>,
    pub(super) limits: Limits,
    open: Arc<AtomicUsize>,
    pub(super) waiting: AtomicU64,
}

#[derive(Debug, Default)]
struct Hosts {
    by_origin: HashMap<Box<str>, Arc<Host>>,
    /// A task is under way that closes what has been idle for too long.
    swept: bool,
    /// The client has been closed: nothing is kept any more.
    closed: bool,
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            hosts: Mutex::default(),
            connections: semaphore(limits.connections),
            requests: limits.requests.map(semaphore),
            limits,
            open: Arc::default(),
            waiting: AtomicU64::new(0),
        }
    }

    /// What is known of `origin`.
    pub(super) fn host(&self, origin: &str) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        if let Some(host) = hosts.by_origin.get(origin) {
            return Arc::clone(host);
        }
        if hosts.by_origin.len() >= HOSTS {
            hosts.by_origin.retain(|_, host| Arc::strong_count(host) > 1 || !host.is_empty());
        }
        let host = Arc::new(Host::new(&self.limits));
        hosts.by_origin.insert(origin.into(), Arc::clone(&host));
        host
    }

    /// A kept connection, if nobody has to be waited for; those who are `exempt` need no permit.
    pub(super) fn try_lease(
        &self,
        host: &Arc<Host>,
        shareable: bool,
        exempt: bool,
    ) -> Option<Lease> {
        if host.rate.is_some() || host.requests.is_some() || self.requests.is_some() {
            return None;
        }
        let mut permits = Permits { _host: None, _all: None, connection: None };
        if shareable && host.speaks() != Speaks::Http1 {
            let shared = host.shared()?;
            let stream = Arc::clone(&shared.streams).try_acquire_owned().ok()?;
            let connection = Connection::Http2(shared, stream);
            return Some(Lease {
                connection,
                reused: true,
                host: Arc::clone(host),
                _permits: permits,
            });
        }
        if !exempt && !self.try_permit(host, &mut permits) {
            return None;
        }
        let connection = host.checkout(self.limits.idle)?;
        Some(Lease::own(connection, true, Arc::clone(host), permits))
    }

    /// Waits for the right to have one more request under way.
    pub(super) async fn enter(&self, host: &Host) -> Permits {
        let own = acquire_some(host.requests.as_ref()).await;
        let all = acquire_some(self.requests.as_ref()).await;
        Permits { _host: own, _all: all, connection: None }
    }

    /// As `permit`, if nobody has to be waited for.
    pub(super) fn try_permit(&self, host: &Host, permits: &mut Permits) -> bool {
        let own = Arc::clone(&host.connections).try_acquire_owned().ok();
        let all = own.is_some().then(|| Arc::clone(&self.connections).try_acquire_owned().ok());
        permits.connection = own.zip(all.flatten());
        permits.connection.is_some()
    }

    /// Waits for the right to use a connection of its own.
    pub(super) async fn permit(&self, host: &Host, permits: &mut Permits) {
        let own = acquire(&host.connections).await;
        let all = acquire(&self.connections).await;
        permits.connection = own.zip(all);
    }

    /// Gives the connection's permit back: a shared one will do.
    pub(super) fn unpermit(permits: &mut Permits) {
        permits.connection = None;
    }

    /// Counts a new connection, and closes the oldest idle one if there are too many.
    pub(super) fn open(&self) -> Open {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        if before >= self.limits.connections {
            let oldest = {
                let hosts = lock(&self.hosts);
                let aged = hosts.by_origin.values().filter_map(|it| Some((it.oldest()?, it)));
                aged.min_by_key(|(since, _)| *since).map(|(_, host)| Arc::clone(host))
            };
            if let Some(host) = oldest {
                host.close_oldest();
            }
        }
        Open(Arc::clone(&self.open))
    }

    /// Lets go of what is idle, and of everything else when its request has ended.
    pub(super) fn close(&self) {
        let mut hosts = lock(&self.hosts);
        hosts.closed = true;
        let idle = std::mem::take(&mut hosts.by_origin);
        drop(hosts);
        for host in idle.values() {
            let kept = (std::mem::take(&mut *lock(&host.idle)), lock(&host.shared).take());
            drop(kept);
        }
    }

    fn is_closed(&self) -> bool {
        lock(&self.hosts).closed
    }

    pub(super) fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn idle_connections(&self) -> usize {
        let hosts = lock(&self.hosts);
        hosts.by_origin.values().map(|host| lock(&host.idle).len()).sum()
    }

    /// Sees to it that what is idle for too long is closed.
    pub(super) fn watch(self: &Arc<Self>) {
        let unswept = !std::mem::replace(&mut lock(&self.hosts).swept, true);
        if unswept {
            let (pool, pause) = (Arc::downgrade(self), self.limits.idle);
            let _ = runtime::spawn(sweep(pool, pause));
        }
    }

    fn prune(&self) -> bool {
        let mut hosts = lock(&self.hosts);
        let mut kept = false;
        for host in hosts.by_origin.values() {
            kept |= host.prune(self.limits.idle);
        }
        hosts.swept = kept;
        kept
    }
}

async fn sweep(pool: Weak<Pool>, pause: Duration) {
    loop {
        tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.prune() {
            return;
        }
    }
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

/// A permit; `None` only if the semaphore were closed, which none of ours is.
async fn acquire(semaphore: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(semaphore).acquire_owned().await.ok()
}

async fn acquire_some(semaphore: Option<&Arc<Semaphore>>) -> Option<OwnedSemaphorePermit> {
    match semaphore {
        Some(semaphore) => acquire(semaphore).await,
        None => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
