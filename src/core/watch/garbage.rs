//! How long Python's garbage collector has run, told by its callbacks. It runs in one thread at
//! a time and holds up all others, so one pair of numbers serves the process.

use std::sync::atomic::{AtomicU64, Ordering};

use super::beat::now;

/// When the running collection began, 0 without one. Relaxed: a statistic, read by the watcher.
static SINCE: AtomicU64 = AtomicU64::new(0);
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// A collection begins.
pub fn began() {
    SINCE.store(now(), Ordering::Relaxed);
}

/// The collection has ended.
pub fn ended() {
    let since = SINCE.swap(0, Ordering::Relaxed);
    if since != 0 {
        TOTAL.fetch_add(now().saturating_sub(since), Ordering::Relaxed);
    }
}

/// Nanoseconds in the collector up to `at`, a collection under way included.
pub(super) fn total(at: u64) -> u64 {
    let since = SINCE.load(Ordering::Relaxed);
    let under_way = if since == 0 { 0 } else { at.saturating_sub(since) };
    TOTAL.load(Ordering::Relaxed) + under_way
}
