//! When an operation was taken up, and when it was done: noted only while somebody records it.
//! Without that, it costs one load for each of the two.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How many want times to be noted. Relaxed: an operation that begins meanwhile may go without.
static WANTED: AtomicUsize = AtomicUsize::new(0);

/// Nanoseconds of the monotonic clock since the first call in this process; never zero.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

/// One more wants times to be noted.
pub fn note_times() {
    WANTED.fetch_add(1, Ordering::Relaxed);
}

/// One of them wants it no longer.
pub fn note_times_no_more() {
    WANTED.fetch_sub(1, Ordering::Relaxed);
}

/// Whether times are noted.
#[must_use]
pub fn times_are_noted() -> bool {
    WANTED.load(Ordering::Relaxed) != 0
}

/// The times of one operation, 0 for what was not noted. Written by whoever works on it, read
/// when its outcome is there; the ticket's lock orders the two.
#[derive(Debug, Default)]
pub(super) struct Times {
    began: AtomicU64,
    done: AtomicU64,
}

impl Times {
    pub(super) fn begin(&self) {
        if times_are_noted() {
            self.began.store(now(), Ordering::Relaxed);
        }
    }

    pub(super) fn end(&self) {
        if times_are_noted() {
            self.done.store(now(), Ordering::Relaxed);
        }
    }

    pub(super) fn both(&self) -> (u64, u64) {
        (self.began.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed))
    }
}
