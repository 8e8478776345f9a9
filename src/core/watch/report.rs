//! What is kept for those who ask later. Written by the watcher's thread, read by anybody.
//!
//! Everything is bounded, whatever the number of loops and hours. Stalls are kept by Python's side.

use std::collections::{BTreeMap, VecDeque};

use super::cause::Cause;
use super::stack::Stack;
use super::timeline::Timeline;

/// Pauses that are kept.
const PAUSES: usize = 500;
/// Loops that are kept; a test run makes hundreds.
const LOOPS: usize = 32;

/// One time that a loop did not come round. Times are nanoseconds of [`super::now`].
#[derive(Clone, Debug)]
pub struct Stall {
    /// Counts the stalls of one watcher, from 1.
    pub number: u64,
    /// Whose: the key of its target.
    pub key: u64,
    /// The last moment at which the loop was known to come round.
    pub began: u64,
    /// When its line was first known.
    pub named: Option<u64>,
    /// When it was found to be longer than the threshold.
    pub detected: u64,
    /// When the loop came round again.
    pub ended: Option<u64>,
    /// How long it blocks, or has: pauses and waits for a processor are left out.
    pub lasted: u64,
    /// Why, as far as is known.
    pub cause: Cause,
    /// Stacks seen, each once, the most frequent first.
    pub stacks: Vec<Stack>,
    /// Which frame of the first stack is to blame.
    pub blamed: Option<usize>,
    /// A debugger had the process.
    pub traced: bool,
}

/// A time in which the whole process did not run.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// When it was over.
    pub ended: u64,
    /// How long it was, in nanoseconds.
    pub lasted: u64,
}

/// How long loops took to answer, by power of two: bucket n counts answers below 2ⁿ µs.
#[derive(Clone, Debug, Default)]
pub struct Lag {
    /// The counts.
    pub buckets: [u64; 32],
    /// The longest, in nanoseconds.
    pub longest: u64,
}

/// Sums over all loops, in nanoseconds where not said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Watched.
    pub watched: u64,
    /// Of that, at work.
    pub busy: u64,
    /// Questions that were asked: wake-ups of loops that were at work already.
    pub questions: u64,
    /// Stalls found.
    pub stalls: u64,
    /// In which the process did not run.
    pub paused: u64,
}

/// What is kept.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Sums.
    pub totals: Totals,
    /// Answers.
    pub lag: Lag,
    /// The newest pauses, oldest first.
    pub pauses: VecDeque<Pause>,
    /// By key of the target, the newest loops only.
    pub loops: BTreeMap<u64, LoopTime>,
}

/// What is kept of one loop.
#[derive(Clone, Debug)]
pub struct LoopTime {
    /// Nanoseconds under watch.
    pub watched: u64,
    /// When it was at work.
    pub busy: Timeline,
}

impl Lag {
    pub(super) fn add(&mut self, lag: u64) {
        let microseconds = lag / 1_000;
        let bucket = (u64::BITS - microseconds.leading_zeros()) as usize;
        let last = self.buckets.len() - 1;
        if let Some(count) = self.buckets.get_mut(bucket.min(last)) {
            *count += 1;
        }
        self.longest = self.longest.max(lag);
    }
}

impl Report {
    /// Notes what a loop did from `from` to `to`.
    pub(super) fn add_time(&mut self, key: u64, from: u64, to: u64, busy: bool) {
        let span = to.saturating_sub(from);
        self.totals.watched += span;
        self.totals.busy += if busy { span } else { 0 };
        if !self.loops.contains_key(&key) && self.loops.len() >= LOOPS {
            self.loops.pop_first();
        }
        let new = || LoopTime { watched: 0, busy: Timeline::new(from) };
        let time = self.loops.entry(key).or_insert_with(new);
        time.watched += span;
        time.busy.add(from, to, busy);
    }

    pub(super) fn add_pause(&mut self, pause: Pause) {
        self.totals.paused += pause.lasted;
        if self.pauses.len() >= PAUSES {
            self.pauses.pop_front();
        }
        self.pauses.push_back(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_samples_of_many_loops_stays_small_and_adds_up() {
        let mut report = Report::default();
        let (day, step) = (24 * 3_600_000_000_000_u64, 10_000_000_000_u64);
        for loop_key in 0..40 {
            for at in (0..day).step_by(usize::try_from(step).unwrap()) {
                report.add_time(loop_key, at, at + step, at % (2 * step) == 0);
                report.lag.add(at % 1_000_000_000);
            }
        }
        assert_eq!(report.loops.len(), LOOPS);
        assert_eq!(report.totals.watched, 40 * day);
        assert_eq!(report.totals.busy, 20 * day);
        for at in 0..10_000 {
            report.add_pause(Pause { ended: at, lasted: 1 });
        }
        let pauses = report.pauses.capacity() * size_of::<Pause>();
        let bytes: usize = report.loops.values().map(|it| it.busy.bytes()).sum();
        assert!(pauses + bytes + size_of::<Report>() <= 2 << 20, "{pauses} + {bytes}");
    }

    #[test]
    fn lags_are_counted_by_power_of_two() {
        let mut lag = Lag::default();
        lag.add(500);
        lag.add(1_500);
        lag.add(1_000_000_000);
        assert_eq!((lag.buckets[0], lag.buckets[1], lag.buckets[20]), (1, 1, 1));
    }
}
