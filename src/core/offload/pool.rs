//! The queue of offloaded calls, and the rule that decides who is woken or hired for one.
//!
//! Workers are threads of the embedding language: this file never starts one, it tells when one
//! is wanted. At most one worker is *on its way* (woken or hired, but not yet at the queue) at
//! any time; when it takes a job and finds more behind it, it sends for the next. A burst of
//! cheap jobs is so run by the one worker that holds the interpreter, while blocking jobs fan
//! out over as many threads as they need, and the submitting thread pays for one wake-up only.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};

/// A bounded queue of jobs `J` for at most `limit` workers.
#[derive(Debug)]
pub struct Pool<J> {
    state: Mutex<State<J>>,
    /// Wakes idle workers.
    job_ready: Condvar,
    /// Wakes `wait_until_idle`.
    worker_left: Condvar,
    limit: usize,
    queue_limit: usize,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<J>,
    /// Workers that sleep on `job_ready`.
    idle: usize,
    /// A worker has been woken or hired and has not taken a job yet.
    on_the_way: bool,
    /// Workers that exist, from `Hire` to `leave`.
    workers: usize,
    open: bool,
}

/// What the submitter or taker of a job has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a job may wait for a worker that nobody hires"]
pub enum Submitted {
    /// Somebody is or will be there.
    Covered,
    /// Start one more worker; it is already counted.
    Hire,
}

impl<J> Pool<J> {
    /// An open pool without workers.
    #[must_use]
    pub fn new(limit: usize, queue_limit: usize) -> Self {
        let state =
            State { jobs: VecDeque::new(), idle: 0, on_the_way: false, workers: 0, open: true };
        Self {
            state: Mutex::new(state),
            job_ready: Condvar::new(),
            worker_left: Condvar::new(),
            limit,
            queue_limit,
        }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// `PoolFull` or `Closed`, with the job.
    pub fn submit(&self, job: J) -> Result<Submitted, (J, Error)> {
        let mut state = self.lock();
        if !state.open {
            let error = Error::new(Kind::Closed, "the pool is closed: the interpreter is exiting");
            return Err((job, error));
        }
        if state.jobs.len() >= self.queue_limit {
            let text = format!("{} calls already wait for a worker", self.queue_limit);
            return Err((job, Error::new(Kind::PoolFull, text)));
        }
        state.jobs.push_back(job);
        Ok(self.send_for_worker(&mut state))
    }

    /// Refuses further jobs, lets idle workers go, and returns the jobs nobody began.
    pub fn close(&self) -> VecDeque<J> {
        let mut state = self.lock();
        state.open = false;
        self.job_ready.notify_all();
        std::mem::take(&mut state.jobs)
    }

    /// The jobs nobody began, for a pool that can get no worker.
    pub fn take_all(&self) -> VecDeque<J> {
        std::mem::take(&mut self.lock().jobs)
    }

    /// After `close`: waits until every worker has left, for `grace` at most; true when all have.
    pub fn wait_until_empty(&self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        let mut state = self.lock();
        while state.workers > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.worker_left.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// How many workers exist.
    pub fn workers(&self) -> usize {
        self.lock().workers
    }

    /// A worker that has just been hired. It counts until it is dropped.
    #[must_use]
    pub fn worker(self: &Arc<Self>) -> Worker<J> {
        Worker { pool: Arc::clone(self), arriving: true }
    }

    fn send_for_worker(&self, state: &mut State<J>) -> Submitted {
        if state.on_the_way {
            return Submitted::Covered;
        }
        if state.idle > 0 {
            state.on_the_way = true;
            self.job_ready.notify_one();
            return Submitted::Covered;
        }
        if state.workers >= self.limit {
            return Submitted::Covered;
        }
        state.on_the_way = true;
        state.workers += 1;
        Submitted::Hire
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One hired worker's place at the queue.
#[derive(Debug)]
pub struct Worker<J> {
    pool: Arc<Pool<J>>,
    /// This worker is the one that is on its way; cleared by its first look at the queue.
    arriving: bool,
}

impl<J> Worker<J> {
    /// The next job, if one is ready; tells whether its taker has to hire a colleague.
    pub fn try_take(&mut self) -> Option<(J, Submitted)> {
        let mut state = self.pool.lock();
        if std::mem::take(&mut self.arriving) {
            state.on_the_way = false;
        }
        let job = state.jobs.pop_front()?;
        let next = if state.jobs.is_empty() {
            Submitted::Covered
        } else {
            self.pool.send_for_worker(&mut state)
        };
        Some((job, next))
    }

    /// Sleeps until a job may be ready; false when the pool has closed and the worker has to go.
    /// The caller must not hold the interpreter.
    pub fn wait(&mut self) -> bool {
        let mut state = self.pool.lock();
        if std::mem::take(&mut self.arriving) {
            state.on_the_way = false;
        }
        while state.open && state.jobs.is_empty() {
            state.idle += 1;
            state = self.pool.job_ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            self.arriving = true;
            if state.jobs.is_empty() {
                // Somebody who was awake has eaten what this worker was sent for.
                state.on_the_way = false;
                self.arriving = false;
            }
        }
        state.open
    }
}

impl<J> Drop for Worker<J> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.workers = state.workers.saturating_sub(1);
        if self.arriving {
            state.on_the_way = false;
        }
        self.pool.worker_left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_burst_hires_one_worker_and_each_arrival_sends_for_the_next() {
        let pool = Arc::new(Pool::new(3, 100));
        assert_eq!(pool.submit(1).unwrap(), Submitted::Hire);
        let mut first = pool.worker();
        for job in 2..=5 {
            assert_eq!(pool.submit(job).unwrap(), Submitted::Covered);
        }
        assert_eq!(first.try_take(), Some((1, Submitted::Hire)));
        assert_eq!(first.try_take(), Some((2, Submitted::Covered)), "one is on its way already");
        let mut second = pool.worker();
        assert_eq!(second.try_take(), Some((3, Submitted::Hire)));
        let mut third = pool.worker();
        assert_eq!(third.try_take(), Some((4, Submitted::Covered)), "the limit holds");
        assert_eq!(third.try_take(), Some((5, Submitted::Covered)));
        assert_eq!(pool.workers(), 3);
    }

    #[test]
    fn a_full_queue_and_a_closed_pool_give_the_job_back() {
        let pool = Arc::new(Pool::new(1, 1));
        assert_eq!(pool.submit(1).unwrap(), Submitted::Hire);
        let (job, error) = pool.submit(2).unwrap_err();
        assert_eq!((job, error.kind), (2, Kind::PoolFull));
        assert_eq!(pool.close(), [1]);
        let (job, error) = pool.submit(3).unwrap_err();
        assert_eq!((job, error.kind), (3, Kind::Closed));
    }

    #[test]
    fn a_worker_that_could_not_be_started_leaves_its_place_free() {
        let pool = Arc::new(Pool::new(1, 10));
        assert_eq!(pool.submit(1).unwrap(), Submitted::Hire);
        drop(pool.worker());
        assert_eq!(pool.workers(), 0);
        assert_eq!(pool.submit(2).unwrap(), Submitted::Hire);
    }

    #[test]
    fn every_job_is_taken_exactly_once_under_load() {
        fn work(pool: &Arc<Pool<u64>>) -> u64 {
            let mut worker = pool.worker();
            let mut colleagues = Vec::new();
            let mut sum = 0;
            loop {
                while let Some((job, next)) = worker.try_take() {
                    sum += job;
                    if next == Submitted::Hire {
                        let pool = Arc::clone(pool);
                        colleagues.push(thread::spawn(move || work(&pool)));
                    }
                }
                if !worker.wait() {
                    drop(worker);
                    return sum + colleagues.into_iter().map(|c| c.join().unwrap()).sum::<u64>();
                }
            }
        }
        let pool = Arc::new(Pool::new(8, 1_000_000));
        let mut workers = Vec::new();
        for n in 1..=100_000 {
            if pool.submit(n).unwrap() == Submitted::Hire {
                let pool = Arc::clone(&pool);
                workers.push(thread::spawn(move || work(&pool)));
            }
        }
        while !pool.lock().jobs.is_empty() {
            thread::yield_now();
        }
        assert!(pool.close().is_empty());
        assert!(pool.wait_until_empty(Duration::from_secs(5)));
        let sum: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(sum, 100_000 * 100_001 / 2);
    }
}
