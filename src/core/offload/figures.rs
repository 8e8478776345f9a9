//! What has become of the calls of a pool, counted. Kept under the lock of the pool.

use std::time::Duration;

/// How a call ended, for its awaiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It returned.
    Done,
    /// It raised, or its time was up while it waited.
    Failed,
    /// It was cancelled, and has ended or never began.
    Cancelled,
    /// Its awaiter has gone while it ran.
    Abandoned,
}

/// Counts of a pool since it was made.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Calls that returned.
    pub done: u64,
    /// Calls that raised, or whose time was up while they waited.
    pub failed: u64,
    /// Calls that were cancelled and did not go on.
    pub cancelled: u64,
    /// Calls that went on although nobody waited for them any longer.
    pub abandoned: u64,
    /// How long calls waited for their turn.
    pub queued: Histogram,
    /// How long they ran.
    pub ran: Histogram,
}

impl Figures {
    /// Counts the end of one call.
    pub fn count(&mut self, ended: Ended) {
        let counter = match ended {
            Ended::Done => &mut self.done,
            Ended::Failed => &mut self.failed,
            Ended::Cancelled => &mut self.cancelled,
            Ended::Abandoned => &mut self.abandoned,
        };
        *counter += 1;
    }
}

/// Durations by powers of two of microseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// `counts[n]`: below `2^n` µs, and not below `2^(n-1)`; the last one has the rest.
    counts: [u64; Self::BUCKETS],
    total: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; Self::BUCKETS], total: Duration::ZERO }
    }
}

impl Histogram {
    /// Up to 2^26 µs: 67 s.
    const BUCKETS: usize = 28;

    /// Adds one duration.
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        if let Some(count) = self.counts.get_mut(bucket.min(Self::BUCKETS - 1)) {
            *count += 1;
        }
        self.total += took;
    }

    /// All durations together.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total
    }

    /// Upper bounds in seconds, and how many were below each and not below the one before. Empty
    /// ones are left out; the last bound may be infinite.
    pub fn bounds(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = (0_i32..).map(|power| {
            let last = usize::try_from(power).is_ok_and(|it| it == Self::BUCKETS - 1);
            if last { f64::INFINITY } else { 2_f64.powi(power) / 1e6 }
        });
        bounds.zip(self.counts).filter(|(_, count)| *count > 0)
    }
}

#[cfg(all(test, not(offloop_loom)))]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_powers_of_two() {
        let mut histogram = Histogram::default();
        for micros in [0, 1, 2, 3, 1000, 100_000_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        let bounds: Vec<_> = histogram.bounds().collect();
        let expected = [(1e-6, 1), (2e-6, 1), (4e-6, 2), (1024e-6, 1), (f64::INFINITY, 1)];
        assert_eq!(bounds, expected);
    }
}
