//! An open connection, of HTTP/1.1 or HTTP/2: closed when it is dropped, counted while it lives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::HeaderValue;
use hyper::client::conn::{http1, http2};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::lock;
use crate::fetch::ear::Ear;
use crate::fetch::proxy::Proxy;
use crate::fetch::upload::Body;
use crate::runtime;

/// An open connection of HTTP/1.1, used by one request at a time.
#[derive(Debug)]
pub(in crate::fetch) struct Http1 {
    pub(in crate::fetch) sender: http1::SendRequest<Body>,
    ear: Arc<Ear>,
    wire: Wire,
}

/// An open connection of HTTP/2, shared.
#[derive(Debug)]
pub(in crate::fetch) struct Http2 {
    pub(in crate::fetch) sender: http2::SendRequest<Body>,
    /// Requests under way, as far as they are allowed at once.
    pub(super) streams: Arc<Semaphore>,
    pub(super) last_used: Mutex<Instant>,
    wire: Wire,
}

/// Streams of one connection at once; what servers commonly allow, and hyper assumes at first.
const STREAMS: usize = 100;

/// What both kinds of connection have in common.
#[derive(Debug)]
pub(in crate::fetch) struct Wire {
    /// What the Host header says; in HTTP/2, `:authority`.
    pub(in crate::fetch) host: HeaderValue,
    /// Goes through a proxy that takes requests in absolute form.
    pub(in crate::fetch) proxied: Option<Proxied>,
    task: AbortHandle,
    _open: Open,
}

/// How requests are put to an http proxy (RFC 9112 §3.2.2).
#[derive(Clone, Debug)]
pub(in crate::fetch) struct Proxied {
    /// Whose authorization goes with each.
    pub(in crate::fetch) proxy: Proxy,
}

impl Wire {
    pub(in crate::fetch) fn new(
        host: HeaderValue,
        proxied: Option<Proxied>,
        task: AbortHandle,
        open: Open,
    ) -> Self {
        Self { host, proxied, task, _open: open }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if runtime::check_alive().is_ok() {
            self.task.abort();
        }
    }
}

impl Http1 {
    pub(in crate::fetch) fn new(
        sender: http1::SendRequest<Body>,
        ear: Arc<Ear>,
        wire: Wire,
    ) -> Self {
        Self { sender, ear, wire }
    }

    pub(in crate::fetch) fn wire(&self) -> &Wire {
        &self.wire
    }
}

impl Http1 {
    /// What has come in.
    pub(in crate::fetch) fn ear(&self) -> &Ear {
        &self.ear
    }
}

impl Http2 {
    pub(in crate::fetch) fn new(sender: http2::SendRequest<Body>, wire: Wire) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS));
        Self { sender, streams, last_used: Mutex::new(Instant::now()), wire }
    }

    pub(in crate::fetch) fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(super) fn idle_for(&self) -> Option<Duration> {
        (self.streams.available_permits() == STREAMS).then(|| lock(&self.last_used).elapsed())
    }
}

/// Counts one open connection while it lives.
#[derive(Debug)]
pub(in crate::fetch) struct Open(pub(super) Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
