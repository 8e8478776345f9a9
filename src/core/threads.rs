//! Bounded threads for system calls that block: look-ups of names, reads of files.
//!
//! Each kind of work has a [`Threads`] of its own, so that what hangs in one does not eat the
//! threads of another. Threads begin with the first work, never more than the limit, and end
//! after ten idle seconds. They never touch Python. tokio's blocking pool is not used: it is one
//! for everything, its queue is unbounded, and it panics where the system refuses a thread.
//!
//! Law: as long as work is queued, a thread exists that will take it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::{Error, Kind};
use crate::runtime;

/// How long a thread waits for work before it ends; the same as tokio's blocking threads.
const IDLE: Duration = Duration::from_secs(10);
/// The most work that waits; arbitrary, and far more than any client has requests.
const QUEUE: usize = 10_000;

type Job = Box<dyn FnOnce() + Send>;

/// Threads of one name, for one kind of work.
#[derive(Debug)]
pub struct Threads {
    name: &'static str,
    limit: usize,
    /// How long a thread waits for work before it ends.
    idle: Duration,
    /// Made with the first work, so that `new` can stand in a `static`.
    shared: OnceLock<Arc<Shared>>,
}

/// Work under way; what it gives is the work's result.
///
/// Dropped before a thread took the work, the work is not done at all. Dropped later, the work
/// goes on and its result is thrown away.
#[derive(Debug)]
#[must_use = "work that nobody waits for is taken back"]
pub struct Running<T> {
    outcome: oneshot::Receiver<Result<T, Error>>,
    /// Why nothing was queued.
    refused: Option<Error>,
    _place: Option<Place>,
}

/// One work's place in the queue.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes one idle thread per job.
    ready: Condvar,
}

#[derive(Default)]
struct State {
    /// The queue by number of arrival: ordered, and a job in its middle can be taken back.
    jobs: BTreeMap<u64, Job>,
    arrived: u64,
    /// Threads that sleep on `ready`. One that is woken counts until it has the lock, so that
    /// `jobs.len() > idle` means that a job has nobody.
    idle: usize,
    threads: usize,
}

impl Threads {
    /// At most `limit` threads called `name`; none of them exists yet.
    #[must_use]
    pub const fn new(name: &'static str, limit: usize) -> Self {
        Self { name, limit, idle: IDLE, shared: OnceLock::new() }
    }

    /// Queues `work` at once, and gives what it returns.
    ///
    /// # Errors
    /// `PoolFull` when 10,000 works wait, `Resources` when the system refuses the only thread,
    /// `Forked` in a child process, `Internal` when the work panics.
    pub fn run<T, F>(&self, work: F) -> Running<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.try_run(work).unwrap_or_else(|error| {
            let (_, outcome) = oneshot::channel();
            Running { outcome, refused: Some(error), _place: None }
        })
    }

    /// As `run`, for those who have to know at once whether the work is queued.
    ///
    /// # Errors
    /// `PoolFull`, `Resources`, `Forked` as for `run`.
    pub fn try_run<T, F>(&self, work: F) -> Result<Running<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        // First of all: a forked child may have inherited locks that nobody will ever open.
        runtime::check_alive()?;
        let (answer, outcome) = oneshot::channel();
        let job = Box::new(move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            let _ = answer.send(done.map_err(|payload| Error::from_panic(payload.as_ref())));
        });
        let shared = Arc::clone(self.shared.get_or_init(Arc::default));
        let number = self.queue(&shared, job)?;
        Ok(Running { outcome, refused: None, _place: Some(Place { shared, number }) })
    }

    fn queue(&self, shared: &Arc<Shared>, job: Job) -> Result<u64, Error> {
        let mut state = shared.lock();
        if state.jobs.len() >= QUEUE {
            let text = format!("{QUEUE} tasks already wait for a thread of {}", self.name);
            return Err(Error::new(Kind::PoolFull, text));
        }
        let number = state.arrived;
        state.arrived += 1;
        state.jobs.insert(number, job);
        if state.jobs.len() <= state.idle {
            shared.ready.notify_one();
        } else if state.threads < self.limit {
            // Under the lock, so that nobody counts on a thread that the system then refuses.
            let (theirs, idle) = (Arc::clone(shared), self.idle);
            match Builder::new().name(self.name.into()).spawn(move || work_through(&theirs, idle)) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    let job = state.jobs.remove(&number);
                    drop(state);
                    drop(job);
                    let what = format!("cannot start a thread of {}", self.name);
                    return Err(Error::system(Kind::Resources, &what, &error));
                }
                // The threads that exist will get to it.
                Err(_) => {}
            }
        }
        Ok(number)
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.refused.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| {
            let lost = |_| Err(Error::new(Kind::Internal, "a thread of offloop lost its work"));
            outcome.unwrap_or_else(lost)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if runtime::check_alive().is_ok() {
            let job = self.shared.lock().jobs.remove(&self.number);
            // What the job holds is dropped after the lock was let go.
            drop(job);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What each thread does until it has been idle for long enough.
fn work_through(shared: &Shared, idle: Duration) {
    let mut state = shared.lock();
    let mut waited_enough = false;
    loop {
        if let Some((_, job)) = state.jobs.pop_first() {
            drop(state);
            // The job catches its own panics; this catches those of dropping what it gave.
            let _ = catch_unwind(AssertUnwindSafe(job));
            state = shared.lock();
            waited_enough = false;
        } else if waited_enough {
            state.threads -= 1;
            return;
        } else {
            state.idle += 1;
            let woken = shared.ready.wait_timeout(state, idle);
            let (guard, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            waited_enough = timeout.timed_out();
        }
    }
}

#[cfg(test)]
mod tests;
