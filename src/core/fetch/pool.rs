//! Kept-alive connections of the plain lane.
//!
//! A connection is in one of two hands: the pool's, or a [`Lease`]'s. Only `Lease::release`,
//! called after the last byte of a body, brings it back; a lease that is dropped closes the
//! connection, so a half-read one can never serve another request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;

use crate::runtime;

/// An open connection: the sending half, and the task that moves its bytes.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// What the Host header says.
    pub(super) host: HeaderValue,
    pub(super) task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if runtime::check_alive().is_ok() {
            self.task.abort();
        }
    }
}

/// Idle connections by authority (`host` or `host:port`), the latest used last.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
    timeout: Duration,
    per_host: usize,
}

#[derive(Debug, Default)]
struct Idle {
    hosts: HashMap<Box<str>, Vec<(Connection, Instant)>>,
    /// A task is under way that closes what has been idle for too long.
    swept: bool,
}

impl Pool {
    pub(super) fn new(timeout: Duration, per_host: usize) -> Self {
        Self { idle: Mutex::default(), timeout, per_host }
    }

    /// The idle connection that was used last, if there is one that still stands.
    pub(super) fn checkout(&self, authority: &str) -> Option<Connection> {
        let mut idle = self.lock();
        let connections = idle.hosts.get_mut(authority)?;
        while let Some((connection, since)) = connections.pop() {
            if !connection.sender.is_closed() && since.elapsed() < self.timeout {
                return Some(connection);
            }
        }
        None
    }

    /// A lease on `connection`, which serves `authority`.
    pub(super) fn lease(self: &Arc<Self>, connection: Connection, authority: &str) -> Lease {
        Lease { connection, authority: authority.into(), pool: Arc::downgrade(self) }
    }

    fn checkin(self: Arc<Self>, connection: Connection, authority: Box<str>) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.lock();
        let connections = idle.hosts.entry(authority).or_default();
        if connections.len() >= self.per_host {
            return;
        }
        connections.push((connection, Instant::now()));
        let unswept = !std::mem::replace(&mut idle.swept, true);
        drop(idle);
        if unswept {
            let (pool, pause) = (Arc::downgrade(&self), self.timeout);
            let _ = runtime::spawn(sweep(pool, pause));
        }
    }

    /// Closes what has been idle for too long; false when nothing is left to watch.
    fn prune(&self) -> bool {
        let mut idle = self.lock();
        let timeout = self.timeout;
        idle.hosts.retain(|_, connections| {
            connections.retain(|(connection, since)| {
                !connection.sender.is_closed() && since.elapsed() < timeout
            });
            !connections.is_empty()
        });
        idle.swept = !idle.hosts.is_empty();
        idle.swept
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(pool: Weak<Pool>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.prune() {
            return;
        }
    }
}

/// A connection in use by one request.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    authority: Box<str>,
    pool: Weak<Pool>,
}

impl Lease {
    /// The response has been read to its end: the connection may serve another request.
    pub(super) fn release(self) {
        let Self { connection, authority, pool } = self;
        if let Some(pool) = pool.upgrade() {
            pool.checkin(connection, authority);
        }
    }
}
