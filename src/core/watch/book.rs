//! The book of Jobs that have come home: how many were under way over time, by lane, and the newest
//! ones one by one. A lane is a pool, the fetcher, or the files.
//!
//! Written by the loops' threads, and only while somebody watches. What a Job is called is the
//! glue's: `L`, made into text when the book is read. Bounded in memory, whatever comes.

use std::collections::VecDeque;

use super::timeline::Timeline;

/// Lanes that are told apart; Jobs of later ones share the last, "others".
const LANES: usize = 64;
/// Bytes of single Jobs that are kept; the oldest give way.
const BYTES: usize = 4 << 20;
const OTHERS: &str = "others";

/// How a Job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a result.
    Done,
    /// With an exception.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// One Job. Times are nanoseconds of [`super::now`].
#[derive(Clone, Debug)]
pub struct Span<L> {
    /// Its lane, an index.
    pub lane: usize,
    /// What it is called.
    pub label: L,
    /// When it was started.
    pub started: u64,
    /// When somebody took it up.
    pub began: u64,
    /// When its outcome was there.
    pub done: u64,
    /// When the loop had it.
    pub landed: u64,
    /// How it ended.
    pub end: End,
    /// The number of the worker, 0 for none.
    pub worker: u32,
    weight: usize,
}

/// Jobs of one kind.
#[derive(Clone, Debug)]
pub struct Lane {
    /// `fetch`, `files`, or the name of a pool.
    pub name: Box<str>,
    /// How many have come home.
    pub count: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How much was under way.
    pub under_way: Timeline,
}

/// What a Job was, as its end tells it.
#[derive(Debug)]
pub struct Entry<'name, L> {
    /// The name of its lane.
    pub lane: &'name str,
    /// What it is called, and how many bytes that takes beside itself.
    pub label: (L, usize),
    /// When it was started.
    pub started: u64,
    /// When it was taken up and when its outcome was there; 0 for what was not noted.
    pub times: (u64, u64),
    /// When the loop had it.
    pub landed: u64,
    /// How it ended.
    pub end: End,
    /// The number of the worker, 0 for none.
    pub worker: u32,
}

/// What is written down of Jobs.
#[derive(Clone, Debug)]
pub struct Book<L> {
    /// Nothing before this moment is written down.
    began: u64,
    /// By kind, in the order of their first Jobs.
    pub lanes: Vec<Lane>,
    /// The newest Jobs, by when they came home.
    pub spans: VecDeque<Span<L>>,
    bytes: usize,
}

impl<L> Book<L> {
    /// A book that begins now.
    #[must_use]
    pub fn new(began: u64) -> Self {
        Self { began, lanes: Vec::new(), spans: VecDeque::new(), bytes: 0 }
    }

    /// Writes a Job down that has come home.
    pub fn add(&mut self, entry: Entry<'_, L>) {
        // A worker may begin before the loop's thread has noted that it was started.
        let first = if entry.times.0 == 0 { u64::MAX } else { entry.times.0 };
        let started = entry.started.min(first).max(self.began);
        let landed = entry.landed.max(started);
        // A Job that was under way when the book was opened has no times.
        let done = if entry.times.1 == 0 { landed } else { entry.times.1.clamp(started, landed) };
        let began = entry.times.0.clamp(started, done);
        let index = self.lane(entry.lane);
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.count += 1;
            lane.failed += u64::from(entry.end == End::Failed);
            lane.cancelled += u64::from(entry.end == End::Cancelled);
            lane.under_way.add(began, done, true);
        }
        let (label, heap) = entry.label;
        let weight = heap + size_of::<Span<L>>();
        self.bytes += weight;
        let (end, worker) = (entry.end, entry.worker);
        self.spans.push_back(Span {
            lane: index,
            label,
            started,
            began,
            done,
            landed,
            end,
            worker,
            weight,
        });
        while self.bytes > BYTES
            && let Some(oldest) = self.spans.pop_front()
        {
            self.bytes -= oldest.weight;
        }
    }

    fn lane(&mut self, name: &str) -> usize {
        let known = self.lanes.iter().position(|lane| *lane.name == *name);
        let last = self.lanes.len();
        known.unwrap_or_else(|| {
            if last >= LANES {
                return last - 1;
            }
            let name = if last + 1 == LANES { OTHERS } else { name };
            let under_way = Timeline::new(self.began);
            self.lanes.push(Lane {
                name: name.into(),
                count: 0,
                failed: 0,
                cancelled: 0,
                under_way,
            });
            last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(lane: &str, at: u64, label: String) -> Entry<'_, String> {
        let heap = label.capacity();
        let times = (at + 1_000, at + 2_000_000);
        let (started, landed) = (at, at + 3_000_000);
        Entry { lane, label: (label, heap), started, times, landed, end: End::Done, worker: 1 }
    }

    #[test]
    fn a_day_of_jobs_stays_small_whatever_they_are_called() {
        let day = 24 * 3_600_000_000_000_u64;
        let mut book = Book::new(0);
        let jobs = 400_000;
        for number in 0..jobs {
            let lane = format!("pool-{}", number % 100);
            let length = if number % 7 == 0 { 9_000 } else { 20 };
            book.add(entry(&lane, day / jobs * number, "x".repeat(length)));
        }
        assert_eq!(book.lanes.len(), LANES);
        assert_eq!(book.lanes.iter().map(|lane| lane.count).sum::<u64>(), jobs);
        let spans = book.spans.capacity() * size_of::<Span<String>>();
        let labels: usize = book.spans.iter().map(|span| span.label.capacity()).sum();
        let timelines: usize = book.lanes.iter().map(|lane| lane.under_way.bytes()).sum();
        assert!(!book.spans.is_empty());
        assert!(spans + labels + timelines <= 10 << 20, "{spans} + {labels} + {timelines}");
    }

    #[test]
    fn times_that_were_not_noted_are_made_up_for() {
        let mut book = Book::new(50);
        let one = Entry {
            lane: "fetch",
            label: ((), 0),
            started: 10,
            times: (0, 0),
            landed: 90,
            end: End::Failed,
            worker: 0,
        };
        book.add(one);
        let span = &book.spans[0];
        assert_eq!((span.started, span.began, span.done, span.landed), (50, 50, 90, 90));
        assert_eq!(book.lanes[0].under_way.busy, [40]);
        assert_eq!((book.lanes[0].count, book.lanes[0].failed), (1, 1));
    }
}
