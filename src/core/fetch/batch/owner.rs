//! `Batch`: what its owner, the loop's thread, does with it. Nothing here waits for long.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::dispatch::Shared;
use super::schedule::Rules;
use super::state::State;
use super::turn::Turn;
use super::{BatchOptions, Fetched, Item, Progress};
use crate::error::Error;
use crate::fetch::client::Client;
use crate::fetch::keep::Keeper;
use crate::limit::Rate;
use crate::runtime;

/// With no more requests under way than this, a result is handed over at once: nobody else will
/// come along soon.
const LONELY: usize = 4;
/// So many results are worth a wake-up of the loop; a wake-up costs about as much as three.
const COMPANY: usize = 64;
/// Results wait no longer than this for company; the smallest step of tokio's timer.
const PATIENCE: Duration = Duration::from_millis(1);

/// Many requests, from the first to be fed to the last to be taken.
#[derive(Debug)]
pub struct Batch {
    pub(super) shared: Arc<Shared>,
}

impl Batch {
    /// A batch that has been fed nothing yet; `keeper` takes the bodies, if there is one.
    ///
    /// # Errors
    /// `Forked` in a child process, `Resources` without a free thread.
    pub fn new(
        client: Client,
        options: &BatchOptions,
        keeper: Option<Arc<dyn Keeper>>,
    ) -> Result<Self, Error> {
        runtime::start()?;
        let &BatchOptions { limit, per_host, adaptive, rate, ordered, dedupe, exempt, .. } =
            options;
        let &BatchOptions { rate_first, ahead, by_owner, .. } = options;
        let limit = limit.max(1);
        let most = per_host.clamp(1, limit);
        let per_host = (!adaptive).then_some(most);
        let rate = rate.map(|rate| Rate::new(rate, 1));
        let rules = Rules { limit, per_host, most, rate, rate_first, ahead, ordered };
        let state = State::new(rules, dedupe);
        let shared = Shared {
            client,
            exempt,
            keeper,
            limit,
            ordered,
            by_owner,
            adaptive,
            state: Mutex::new(state),
            gave_way: Mutex::new(Instant::now()),
            earlier: Notify::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How many more items are wanted now; `None` when none will be any more.
    #[must_use]
    pub fn wanted(&self) -> Option<usize> {
        let state = self.shared.lock();
        (!state.closed && !state.source_ended).then(|| state.wanted())
    }

    /// Ends when more items are wanted, or nobody wants any more.
    pub fn room(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        poll_fn(move |context| {
            let mut state = shared.lock();
            if state.closed || state.wanted() > 0 {
                return Poll::Ready(());
            }
            state.source = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Takes items in, all of them, wanted or not.
    pub fn feed(&self, items: Vec<Item>) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        for item in items {
            if state.closed {
                return;
            }
            self.shared.admit(&mut state, item, now);
        }
        self.shared.dispatch(&mut state, now, None);
    }

    /// There will be no more items.
    pub fn end(&self) {
        let mut state = self.shared.lock();
        state.source_ended = true;
        state.notify();
    }

    /// Takes up to `most` of those whose turn it is, which the owner has to send; an empty list
    /// while there are none, `None` when there will be none any more.
    #[must_use]
    pub fn begun(&self, most: usize) -> Option<Vec<Arc<Turn>>> {
        let mut state = self.shared.lock();
        if state.is_over() {
            return None;
        }
        let count = state.begun.len().min(most);
        Some(state.begun.drain(..count).collect())
    }

    /// Ends when it is somebody's turn, or will be nobody's any more.
    pub fn beginning(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        poll_fn(move |context| {
            let mut state = shared.lock();
            if state.is_over() || !state.begun.is_empty() {
                return Poll::Ready(());
            }
            state.sender = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Takes up to `most` results; an empty list while there are none, `None` after the last.
    #[must_use]
    pub fn take(&self, most: usize) -> Option<Vec<Fetched>> {
        let mut state = self.shared.lock();
        if state.is_over() {
            return None;
        }
        let count = state.done.len().min(most);
        let taken: Vec<_> = state.done.drain(..count).collect();
        state.taken += count as u64;
        if count > 0 {
            self.shared.dispatch(&mut state, Instant::now(), None);
        }
        Some(taken)
    }

    /// Ends when there are results to be taken, or will be none. With many requests under way it
    /// waits a moment for company, so that one wake-up of the loop brings many.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            Arc::clone(&shared).results(1).await;
            let (in_flight, over) = {
                let state = shared.lock();
                (state.schedule.in_flight, state.is_over())
            };
            if in_flight > LONELY && !over {
                let enough = COMPANY.min(in_flight / 2);
                let _ = timeout(PATIENCE, shared.results(enough)).await;
            }
        }
    }

    /// What has been done so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let state = self.shared.lock();
        Progress { in_flight: state.schedule.in_flight, ..state.progress }
    }

    /// Stops everything: requests under way are dropped and their connections closed.
    pub fn close(&self) {
        if runtime::check_alive().is_err() {
            return; // a forked child: the lock may be held by a thread that does not exist here
        }
        let mut state = self.shared.lock();
        state.closed = true;
        let waiting: Vec<_> = state.schedule.clear().collect();
        let results = (std::mem::take(&mut state.done), std::mem::take(&mut state.early));
        let begun = std::mem::take(&mut state.begun);
        // What a lane has been given and has not begun goes when its own task does not come to it.
        let lanes = std::mem::take(&mut state.lanes);
        for task in lanes.iter().filter_map(|(_, lane)| lane.task.as_ref()) {
            task.abort();
        }
        if let Some(keeper) = state.keeper.take() {
            keeper.abort();
        }
        state.notify();
        drop(state);
        drop((waiting, results, begun, lanes));
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Waits until there are so many results, or there will be no more.
    fn results(self: Arc<Self>, enough: usize) -> impl Future<Output = ()> + Send + 'static {
        poll_fn(move |context| {
            let mut state = self.lock();
            if state.is_over() || state.done.len() >= enough {
                return Poll::Ready(());
            }
            state.reader = Some((context.waker().clone(), enough));
            Poll::Pending
        })
    }
}
