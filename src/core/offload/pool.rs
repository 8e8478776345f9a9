//! The queue of offloaded calls, and the rule that decides who is woken or hired for one.
//!
//! Workers are threads of the embedding language: this file never starts one, it tells when one
//! is wanted. At most one worker is *on its way* (woken or hired, but not yet at the queue) at
//! any time; when it takes a call and finds more behind it, it sends for the next. A burst of
//! cheap calls is so run by the one worker that holds the interpreter, while blocking calls fan
//! out over as many threads as they need, and the submitting thread pays for one wake-up only.
//!
//! A pool whose calls are run elsewhere has no workers: it `grant`s turns and gets them back by
//! `release`.
//!
//! Law (no call is left behind): while a call waits and fewer than `limit` run, a worker is at
//! the queue, on its way, or runs a call and will look at the queue after it. Model-checked in
//! `src/model`.

use std::time::{Duration, Instant};

use super::sync::{Arc, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, lock, wait_timeout};
use super::{Call, Ended, Figures, Queue, Waiting};
use crate::error::{Error, Kind};

/// A bounded queue of calls `J` for at most `limit` workers.
#[derive(Debug)]
pub struct Pool<J> {
    state: Mutex<State<J>>,
    /// Wakes idle workers.
    call_ready: Condvar,
    /// Wakes `wait_until_empty`.
    worker_left: Condvar,
    /// None: calls are run elsewhere.
    crew: Option<Arc<Crew>>,
    queue_limit: usize,
    /// A worker that has had nothing to do for so long leaves.
    idle_limit: Duration,
}

#[derive(Debug)]
struct State<J> {
    calls: Queue<J>,
    /// Workers that sleep on `call_ready`.
    idle: usize,
    /// A worker has been woken or hired and has not taken a call yet.
    on_the_way: bool,
    /// Workers that exist, from `Hire` until they leave.
    workers: usize,
    /// Calls that have been taken or granted and have not ended.
    running: usize,
    limit: usize,
    open: bool,
    figures: Figures,
}

/// The workers of all pools of a process together.
#[derive(Debug)]
pub struct Crew {
    limit: usize,
    workers: AtomicUsize,
}

impl Crew {
    /// At most `limit` workers; but every pool may have one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, workers: AtomicUsize::new(0) }
    }

    fn is_full(&self) -> bool {
        self.workers.load(Ordering::Relaxed) >= self.limit
    }
}

/// What the submitter or taker of a call has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call may wait for a worker that nobody hires"]
pub enum Submitted {
    /// Somebody is or will be there.
    Covered,
    /// Start one more worker; it is already counted.
    Hire,
}

/// A call that the pool does not take, and why.
#[derive(Debug)]
pub struct Refused<J> {
    /// The call.
    pub call: J,
    /// `PoolFull` or `Closed`.
    pub error: Error,
}

/// What a worker finds at the queue.
#[derive(Debug)]
pub enum Taken<J> {
    /// A call; tells whether its taker has to hire a colleague.
    Call(Waiting<J>, Submitted),
    /// Nothing at present: wait.
    Nothing,
    /// The worker is one too many, and counts no longer.
    Leave,
}

/// A pool at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Calls that wait.
    pub queued: usize,
    /// Calls that run.
    pub running: usize,
    /// Workers that exist.
    pub workers: usize,
    /// How many calls may run at once.
    pub limit: usize,
    /// What has become of the others.
    pub figures: Figures,
}

impl<J> Pool<J> {
    /// An open pool that has no workers yet; without a crew it will never have any.
    #[must_use]
    pub fn new(
        limit: usize,
        queue_limit: usize,
        idle_limit: Duration,
        crew: Option<Arc<Crew>>,
    ) -> Self {
        let state = State {
            calls: Queue::default(),
            idle: 0,
            on_the_way: false,
            workers: 0,
            running: 0,
            limit,
            open: true,
            figures: Figures::default(),
        };
        Self {
            state: Mutex::new(state),
            call_ready: Condvar::new(),
            worker_left: Condvar::new(),
            crew,
            queue_limit,
            idle_limit,
        }
    }

    /// Queues a call. Calls nobody wants give way in a full queue; they come back, to be released.
    ///
    /// # Errors
    /// `PoolFull` or `Closed`, with the call.
    pub fn submit(
        &self,
        waiting: Waiting<J>,
        priority: i8,
    ) -> Result<(Submitted, Vec<J>), Box<Refused<J>>>
    where
        J: Call,
    {
        let mut state = lock(&self.state);
        let mut swept = Vec::new();
        if state.open && state.calls.len() >= self.queue_limit && state.running >= state.limit {
            swept = state.calls.sweep();
            if swept.is_empty() {
                let text = format!("{} calls already wait for a worker", self.queue_limit);
                let error = Error::new(Kind::PoolFull, text);
                return Err(Box::new(Refused { call: waiting.call, error }));
            }
        }
        self.queue(state, waiting, priority).map(|submitted| (submitted, swept))
    }

    /// Queues a call that has waited elsewhere, however many wait here.
    ///
    /// # Errors
    /// `Closed`, with the call.
    pub fn readmit(&self, waiting: Waiting<J>, priority: i8) -> Result<Submitted, Box<Refused<J>>> {
        self.queue(lock(&self.state), waiting, priority)
    }

    fn queue(
        &self,
        mut state: MutexGuard<'_, State<J>>,
        waiting: Waiting<J>,
        priority: i8,
    ) -> Result<Submitted, Box<Refused<J>>> {
        if !state.open {
            let error = Error::new(Kind::Closed, "the pool is closed");
            return Err(Box::new(Refused { call: waiting.call, error }));
        }
        state.calls.push(waiting, priority);
        Ok(self.send_for_worker(&mut state))
    }

    /// A turn for a call that is run elsewhere; it lasts until `release`.
    pub fn grant(&self, now: Instant) -> Option<J> {
        let mut state = lock(&self.state);
        if state.running >= state.limit {
            return None;
        }
        let waiting = state.calls.pop()?;
        state.running += 1;
        state.figures.queued.add(now.saturating_duration_since(waiting.since));
        Some(waiting.call)
    }

    /// A granted call has ended after `ran`; `None` when its end has been counted before.
    pub fn release(&self, ended: Option<Ended>, ran: Duration) {
        let mut state = lock(&self.state);
        state.end(ended, ran);
        if !state.open {
            self.worker_left.notify_all();
        }
    }

    /// Counts the end of a call that goes on unseen, or never ran.
    pub fn count(&self, ended: Ended) {
        lock(&self.state).figures.count(ended);
    }

    /// From now on at most `limit` calls run at once; those that run go on.
    pub fn resize(&self, limit: usize) -> Submitted {
        let mut state = lock(&self.state);
        let fewer = limit < state.limit;
        state.limit = limit;
        if fewer {
            self.call_ready.notify_all(); // some have to leave
        }
        if state.calls.is_empty() { Submitted::Covered } else { self.send_for_worker(&mut state) }
    }

    /// Refuses further calls, lets idle workers go, and returns the calls nobody began.
    pub fn close(&self) -> Vec<J> {
        let mut state = lock(&self.state);
        state.open = false;
        self.call_ready.notify_all();
        state.calls.take_all()
    }

    /// Refuses further calls; those that wait are run.
    pub fn close_gently(&self) {
        lock(&self.state).open = false;
        self.call_ready.notify_all();
    }

    /// The calls nobody began, for a pool that can get no worker.
    pub fn take_all(&self) -> Vec<J> {
        lock(&self.state).calls.take_all()
    }

    /// After `close`: waits until all calls have ended and every worker has left, for `grace` at
    /// most; true when all have.
    pub fn wait_until_empty(&self, grace: Duration) -> bool {
        let deadline = Instant::now().checked_add(grace);
        let mut state = lock(&self.state);
        while state.workers > 0 || state.running > 0 || !state.calls.is_empty() {
            let left = deadline.map_or(Duration::from_secs(3600), |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            state = wait_timeout(&self.worker_left, state, left).0;
        }
        true
    }

    /// Whether a call would find a worker at once.
    pub fn has_room(&self) -> bool {
        let state = lock(&self.state);
        state.running < state.limit
    }

    /// How many workers exist.
    pub fn workers(&self) -> usize {
        lock(&self.state).workers
    }

    /// The pool as it is now, and calls that nobody wants any longer, to be released.
    pub fn snapshot(&self) -> (Snapshot, Vec<J>)
    where
        J: Call,
    {
        let mut state = lock(&self.state);
        let swept = state.calls.sweep();
        let snapshot = Snapshot {
            queued: state.calls.len(),
            running: state.running,
            workers: state.workers,
            limit: state.limit,
            figures: state.figures.clone(),
        };
        (snapshot, swept)
    }

    fn send_for_worker(&self, state: &mut State<J>) -> Submitted {
        let Some(crew) = self.crew.as_ref().filter(|_| !state.on_the_way) else {
            return Submitted::Covered;
        };
        if state.idle > 0 {
            state.on_the_way = true;
            self.call_ready.notify_one();
            return Submitted::Covered;
        }
        if state.workers >= state.limit || (state.workers > 0 && crew.is_full()) {
            return Submitted::Covered;
        }
        state.on_the_way = true;
        state.workers += 1;
        crew.workers.fetch_add(1, Ordering::Relaxed);
        Submitted::Hire
    }
}

impl<J> State<J> {
    fn end(&mut self, ended: Option<Ended>, ran: Duration) {
        self.running = self.running.saturating_sub(1);
        if let Some(ended) = ended {
            self.figures.count(ended);
        }
        self.figures.ran.add(ran);
    }
}

/// One hired worker's place at the queue.
#[derive(Debug)]
pub struct Worker<J> {
    pool: Arc<Pool<J>>,
    /// This worker is the one that is on its way; cleared by its first look at the queue.
    arriving: bool,
    /// It has taken a call that has not ended.
    busy: bool,
    /// It has been told to leave, and counts no longer.
    left: bool,
}

impl<J> Worker<J> {
    /// A worker that has just been hired. It counts until it leaves or is dropped.
    #[must_use]
    pub fn hired(pool: &Arc<Pool<J>>) -> Self {
        Self { pool: Arc::clone(pool), arriving: true, busy: false, left: false }
    }

    /// Ends the last call, if there was one, and takes the next, if one is ready.
    ///
    /// `ended` is how the last call ended, unless that has been counted before, and `ran` how
    /// long it took.
    pub fn take(&mut self, now: Instant, ended: Option<Ended>, ran: Duration) -> Taken<J> {
        let pool = Arc::clone(&self.pool);
        let mut state = lock(&pool.state);
        if std::mem::take(&mut self.arriving) {
            state.on_the_way = false;
        }
        if std::mem::take(&mut self.busy) {
            state.end(ended, ran);
        }
        if state.workers > state.limit {
            self.leave(&mut state);
            return Taken::Leave;
        }
        let Some(waiting) = state.calls.pop() else {
            return Taken::Nothing;
        };
        self.busy = true;
        state.running += 1;
        state.figures.queued.add(now.saturating_duration_since(waiting.since));
        let next = if state.calls.is_empty() {
            Submitted::Covered
        } else {
            pool.send_for_worker(&mut state)
        };
        Taken::Call(waiting, next)
    }

    /// Sleeps until a call may be ready; false when the worker has to go, because the pool has
    /// closed, has shrunk, or has had nothing to do for long. The caller must not hold the
    /// interpreter.
    pub fn wait(&mut self) -> bool {
        let pool = Arc::clone(&self.pool);
        let mut state = lock(&pool.state);
        if std::mem::take(&mut self.arriving) {
            state.on_the_way = false;
        }
        let mut waited_long = false;
        while state.calls.is_empty() {
            if !state.open || state.workers > state.limit || waited_long {
                self.leave(&mut state);
                return false;
            }
            state.idle += 1;
            let (woken, expired) = wait_timeout(&pool.call_ready, state, pool.idle_limit);
            state = woken;
            state.idle -= 1;
            // Whoever gets up is the one that was sent for, even if his time was up as well.
            self.arriving = std::mem::take(&mut state.on_the_way);
            waited_long = expired && !self.arriving;
            if state.calls.is_empty() {
                // Somebody who was awake has eaten what this worker was sent for.
                self.arriving = false;
            } else if self.arriving {
                state.on_the_way = true;
            }
        }
        true
    }

    fn leave(&mut self, state: &mut State<J>) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        state.workers = state.workers.saturating_sub(1);
        if let Some(crew) = &self.pool.crew {
            crew.workers.fetch_sub(1, Ordering::Relaxed);
        }
        if std::mem::take(&mut self.arriving) {
            state.on_the_way = false;
        }
        if std::mem::take(&mut self.busy) {
            state.running = state.running.saturating_sub(1);
        }
        self.pool.worker_left.notify_all();
    }
}

impl<J> Drop for Worker<J> {
    fn drop(&mut self) {
        let pool = Arc::clone(&self.pool);
        self.leave(&mut lock(&pool.state));
    }
}

#[cfg(all(test, not(offloop_loom)))]
mod tests;
