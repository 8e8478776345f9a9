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

use std::sync::atomic::{AtomicU32, Ordering};

use super::sync::{Mutex, lock};

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
    state: Mutex<State<T>>,
    /// Who works or worked on it; written by `begin`, for people to read, hence Relaxed.
    worker: AtomicU32,
}

impl<T> Ticket<T> {
    /// An operation that waits for a worker.
    pub fn queued() -> Self {
        Self { state: Mutex::new(State::Queued), worker: AtomicU32::new(0) }
    }

    /// An operation that begins at once.
    pub fn running() -> Self {
        Self { state: Mutex::new(State::Running), worker: AtomicU32::new(0) }
    }

    /// The number of the worker that took the operation up; 0 before.
    pub fn worker(&self) -> u32 {
        self.worker.load(Ordering::Relaxed)
    }

    /// Where the operation stands now.
    pub fn stage(&self) -> Stage {
        match *lock(&self.state) {
            State::Queued => Stage::Queued,
            State::Running => Stage::Running,
            State::Done(_) | State::Taken | State::Left(_) => Stage::Done,
            State::Cancelled => Stage::Cancelled,
        }
    }

    /// Worker number `worker` takes the operation up; false when it was cancelled meanwhile.
    #[must_use]
    pub fn begin(&self, worker: u32) -> bool {
        let mut state = lock(&self.state);
        let free = matches!(*state, State::Queued);
        if free {
            *state = State::Running;
            self.worker.store(worker, Ordering::Relaxed);
        }
        free
    }

    /// Leaves the outcome that was taken for a waiter who asks by himself.
    pub fn leave(&self, outcome: T) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Taken) {
            *state = State::Left(outcome);
        }
    }

    /// The outcome that was left, once.
    pub fn collect(&self) -> Option<T> {
        let mut state = lock(&self.state);
        if !matches!(*state, State::Left(_)) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Left(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// A second leg: the outcome that has been taken is handed to somebody who finishes it.
    pub fn reopen(&self) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Taken) {
            *state = State::Running;
        }
    }

    /// Stores the outcome.
    ///
    /// # Errors
    /// Gives the outcome back when nobody wants it any more.
    pub fn complete(&self, outcome: T) -> Result<(), T> {
        let mut state = lock(&self.state);
        match *state {
            State::Queued | State::Running => {
                *state = State::Done(outcome);
                Ok(())
            }
            State::Done(_) | State::Taken | State::Left(_) | State::Cancelled => Err(outcome),
        }
    }

    /// Calls the operation off unless its outcome has been taken; true when it is called off.
    pub fn cancel(&self) -> bool {
        let mut state = lock(&self.state);
        if matches!(*state, State::Taken | State::Left(_) | State::Cancelled) {
            return false;
        }
        let unwanted = std::mem::replace(&mut *state, State::Cancelled);
        drop(state);
        drop(unwanted);
        true
    }

    /// Calls the operation off only if no worker has taken it up.
    pub fn cancel_queued(&self) -> bool {
        let mut state = lock(&self.state);
        let waiting = matches!(*state, State::Queued);
        if waiting {
            *state = State::Cancelled;
        }
        waiting
    }

    /// Undoes `reopen`: nobody could be found for the second leg.
    pub fn retake(&self) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Running) {
            *state = State::Taken;
        }
    }

    /// The outcome as it comes in, once.
    pub fn take(&self) -> Option<T> {
        let mut state = lock(&self.state);
        if !matches!(*state, State::Done(_)) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(outcome) => Some(outcome),
            _ => None,
        }
    }
}
