//! What changes while a batch is under way: who waits, what is finished, who wants to be woken.
//!
//! All of it stands under the one lock of the batch. Wakers are woken with the lock held: they are
//! those of tasks of the runtime, and waking one does no more than put it into a list.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use slab::Slab;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use url::Position;

use super::lane::Lane;
use super::schedule::{Rules, Schedule};
use super::slot::Seat;
use super::turn::Turn;
use super::{Fetched, Outcome, Progress};
use crate::fetch::request::Request;

/// Everything that changes; written with the lock held, by whoever has something to say.
#[derive(Debug)]
pub(super) struct State {
    pub(super) schedule: Schedule<Entry>,
    /// Finished, and due to be taken.
    pub(super) done: VecDeque<Fetched>,
    /// Finished, but others come first; by number. Only if results are ordered.
    pub(super) early: BTreeMap<u64, Fetched>,
    /// Those whose turn it is, until their sender takes them; with the owner as the sender only.
    pub(super) begun: VecDeque<Arc<Turn>>,
    /// Who sends them, if he waits for some.
    pub(super) sender: Option<Waker>,
    /// The number that is due next, if results are ordered.
    pub(super) next: u64,
    /// Numbers given out: items without the duplicates.
    pub(super) numbers: u64,
    /// Results that were taken.
    pub(super) taken: u64,
    /// 128 bits of hash of everything seen, if duplicates are left out.
    pub(super) seen: Option<Seen>,
    pub(super) lanes: Slab<Lane>,
    /// Lanes with nothing to do, the one that was busy last at the end.
    pub(super) idle_lanes: Vec<usize>,
    pub(super) keeper: Option<AbortHandle>,
    /// When the keeper wakes up.
    pub(super) keeper_due: Option<Instant>,
    /// Who waits for results, and for how many.
    pub(super) reader: Option<(Waker, usize)>,
    /// Who waits to bring more.
    pub(super) source: Option<Waker>,
    pub(super) source_ended: bool,
    pub(super) closed: bool,
    pub(super) progress: Progress,
}

/// What waits for its turn.
#[derive(Debug)]
pub(super) enum Entry {
    /// A request.
    New(Job),
    /// One that was under way before.
    Back { seat: Arc<Mutex<Seat>>, call: oneshot::Sender<()> },
}

/// One request and its number.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) index: u64,
    pub(super) request: Request,
}

/// What has been asked before: 128 bits of hash of each request, with keys that nobody can guess.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hashes: HashSet<(u64, u64)>,
    one: RandomState,
    other: RandomState,
}

impl State {
    pub(super) fn new(rules: Rules, dedupe: bool) -> Self {
        Self {
            schedule: Schedule::new(rules),
            done: VecDeque::new(),
            early: BTreeMap::new(),
            begun: VecDeque::new(),
            sender: None,
            next: 0,
            numbers: 0,
            taken: 0,
            seen: dedupe.then(Seen::default),
            lanes: Slab::new(),
            idle_lanes: Vec::new(),
            keeper: None,
            keeper_due: None,
            reader: None,
            source: None,
            source_ended: false,
            closed: false,
            progress: Progress::default(),
        }
    }

    pub(super) fn unread(&self) -> usize {
        self.done.len() + self.early.len()
    }

    pub(super) fn is_over(&self) -> bool {
        self.closed || (self.source_ended && self.done.is_empty() && self.taken == self.numbers)
    }

    pub(super) fn wanted(&self) -> usize {
        if self.closed || self.source_ended {
            return 0;
        }
        let outstanding = usize::try_from(self.numbers - self.taken).unwrap_or(usize::MAX);
        self.schedule.wanted(outstanding, self.unread())
    }

    /// Wakes those who wait for what is there now.
    pub(super) fn notify(&mut self) {
        let over = self.is_over();
        let ready = |(_, enough): &mut (Waker, usize)| over || self.done.len() >= *enough;
        if let Some((reader, _)) = self.reader.take_if(ready) {
            reader.wake();
        }
        if over || !self.begun.is_empty() {
            self.sender.take().into_iter().for_each(Waker::wake);
        }
        if self.source.is_some() && (self.closed || self.wanted() > 0) {
            self.source.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Keeps a result until it is taken.
    pub(super) fn finish(&mut self, number: u64, ordered: bool, fetched: Fetched) {
        self.progress.finished += 1;
        match &fetched.outcome {
            Outcome::Response(response) => self.progress.bytes += response.received,
            Outcome::Error(_) => self.progress.failed += 1,
            Outcome::Elsewhere { failed, bytes } => {
                self.progress.failed += u64::from(*failed);
                self.progress.bytes += bytes;
            }
        }
        if !ordered {
            self.done.push_back(fetched);
            return;
        }
        self.early.insert(number, fetched);
        while let Some(due) = self.early.remove(&self.next) {
            self.done.push_back(due);
            self.next += 1;
        }
    }

    /// Whether the same has been asked before.
    pub(super) fn is_known(&mut self, request: &Request) -> bool {
        let Some(Seen { hashes, one, other }) = &mut self.seen else { return false };
        let url = &request.url[..Position::AfterQuery];
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let key = (request.method.as_str(), url, headers);
        !hashes.insert((one.hash_one(&key), other.hash_one(&key)))
    }
}
