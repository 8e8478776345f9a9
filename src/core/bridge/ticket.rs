//! The life of one operation, shared by those who run it and those who wait for it.
//!
//! ```text
//!   Queued ──begin──▶ Running ──complete──▶ Done ──take──▶ Taken ──leave──▶ Left ──collect──▶ Taken
//!      │                 │ ▲                  │              │
//!      └─────cancel──────┴─┼──────cancel──────┴─▶ Cancelled  │
//!                          └────────────reopen───────────────┘
//! ```
//!
//! Law (one outcome): an outcome is given out at most once, and never after a `cancel` that
//! returned true; of `begin` and `cancel_queued` exactly one succeeds. An outcome that lost
//! is handed back to its maker, who drops it. Model-checked in `model.rs`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Waker;

use super::sync::{Mutex, lock};
use super::times::Times;

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits for a free worker; can be cancelled without a trace.
    Queued,
    /// Somebody works on it.
    Running,
    /// Its outcome is there, or has been taken.
    Done,
    /// Called off; whatever it still produces is dropped.
    Cancelled,
}

#[derive(Debug)]
enum State<T> {
    Queued,
    Running,
    Done(T),
    Taken,
    Left(T),
    Cancelled,
}

/// One operation's state. Written by its worker (`begin`, `complete`) and by its waiter
/// (`cancel`, `take`); no method holds the lock while foreign code runs.
#[derive(Debug)]
pub struct Ticket<T> {
    inner: Mutex<Inner<T>>,
    /// Who works or worked on it; written by `begin`, for people to read, hence Relaxed.
    worker: AtomicU32,
    /// Its end has been asked for; written by the waiter, read by the function that runs, if it
    /// cares. A hint, hence Relaxed.
    asked: AtomicBool,
    times: Times,
}

#[derive(Debug)]
struct Inner<T> {
    state: State<T>,
    /// Wakes the task that works on it, so that it learns of a `cancel`. Set by `watch`.
    task: Option<Waker>,
}

impl<T> Ticket<T> {
    /// An operation that waits for a worker.
    pub fn queued() -> Self {
        Self::in_state(State::Queued)
    }

    /// An operation that begins at once.
    pub fn running() -> Self {
        Self::in_state(State::Running)
    }

    fn in_state(state: State<T>) -> Self {
        Self {
            inner: Mutex::new(Inner { state, task: None }),
            worker: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            times: Times::default(),
        }
    }

    /// The number of the worker that took the operation up; 0 before.
    pub fn worker(&self) -> u32 {
        self.worker.load(Ordering::Relaxed)
    }

    /// When it was taken up by a worker, and when its outcome was there, on the clock of
    /// [`now`](super::now); 0 for what was not noted.
    pub fn times(&self) -> (u64, u64) {
        self.times.both()
    }

    /// Asks whoever works on it to stop; true the first time.
    pub fn ask_to_stop(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Whether somebody has asked for the end of it.
    pub fn is_asked_to_stop(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Where the operation stands now.
    pub fn stage(&self) -> Stage {
        match lock(&self.inner).state {
            State::Queued => Stage::Queued,
            State::Running => Stage::Running,
            State::Done(_) | State::Taken | State::Left(_) => Stage::Done,
            State::Cancelled => Stage::Cancelled,
        }
    }

    /// Worker number `worker` takes the operation up; false when it was cancelled meanwhile.
    #[must_use]
    pub fn begin(&self, worker: u32) -> bool {
        let mut inner = lock(&self.inner);
        let state = &mut inner.state;
        let free = matches!(*state, State::Queued);
        if free {
            *state = State::Running;
            self.worker.store(worker, Ordering::Relaxed);
            self.times.begin();
        }
        free
    }

    /// Leaves the outcome that was taken for a waiter who asks by himself.
    pub fn leave(&self, outcome: T) {
        let mut inner = lock(&self.inner);
        let state = &mut inner.state;
        if matches!(*state, State::Taken) {
            *state = State::Left(outcome);
        }
    }

    /// The outcome that was left, once.
    pub fn collect(&self) -> Option<T> {
        let mut inner = lock(&self.inner);
        let state = &mut inner.state;
        if !matches!(*state, State::Left(_)) {
            return None;
        }
        match std::mem::replace(state, State::Taken) {
            State::Left(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// A second leg: the outcome that has been taken is handed to somebody who finishes it.
    pub fn reopen(&self) {
        let mut inner = lock(&self.inner);
        let state = &mut inner.state;
        if matches!(*state, State::Taken) {
            *state = State::Running;
        }
    }

    /// The task that works on it asks to be woken by a `cancel`; false when there was one.
    pub fn watch(&self, task: &Waker) -> bool {
        let mut inner = lock(&self.inner);
        if matches!(inner.state, State::Cancelled) {
            return false;
        }
        if !inner.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            inner.task = Some(task.clone());
        }
        true
    }

    /// Stores the outcome.
    ///
    /// # Errors
    /// Gives the outcome back when nobody wants it any more.
    pub fn complete(&self, outcome: T) -> Result<(), T> {
        let mut inner = lock(&self.inner);
        let state = &mut inner.state;
        match *state {
            State::Queued | State::Running => {
                *state = State::Done(outcome);
                self.times.end();
                Ok(())
            }
            State::Done(_) | State::Taken | State::Left(_) | State::Cancelled => Err(outcome),
        }
    }

    /// Stores the outcome only if no worker has taken the operation up.
    ///
    /// # Errors
    /// Gives the outcome back when one has, or when nobody wants it any more.
    pub fn complete_queued(&self, outcome: T) -> Result<(), T> {
        let mut inner = lock(&self.inner);
        if matches!(inner.state, State::Queued) {
            inner.state = State::Done(outcome);
            return Ok(());
        }
        Err(outcome)
    }

    /// Calls the operation off unless its outcome has been taken; true when it is called off.
    pub fn cancel(&self) -> bool {
        let mut inner = lock(&self.inner);
        if matches!(inner.state, State::Taken | State::Left(_) | State::Cancelled) {
            return false;
        }
        let unwanted = std::mem::replace(&mut inner.state, State::Cancelled);
        let task = inner.task.take();
        drop(inner);
        drop(unwanted);
        if let Some(task) = task {
            task.wake();
        }
        true
    }

    /// Calls the operation off only if no worker has taken it up.
    pub fn cancel_queued(&self) -> bool {
        let mut inner = lock(&self.inner);
        let state = &mut inner.state;
        let waiting = matches!(*state, State::Queued);
        if waiting {
            *state = State::Cancelled;
        }
        waiting
    }

    /// Undoes `reopen`: nobody could be found for the second leg.
    pub fn retake(&self) {
        let mut inner = lock(&self.inner);
        let state = &mut inner.state;
        if matches!(*state, State::Running) {
            *state = State::Taken;
        }
    }

    /// The outcome as it comes in, once.
    pub fn take(&self) -> Option<T> {
        let mut inner = lock(&self.inner);
        let state = &mut inner.state;
        if !matches!(*state, State::Done(_)) {
            return None;
        }
        match std::mem::replace(state, State::Taken) {
            State::Done(outcome) => Some(outcome),
            _ => None,
        }
    }
}
