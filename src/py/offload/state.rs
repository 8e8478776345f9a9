//! One pool as the glue sees it: its queue, its workers, and what starts calls elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

use offloop_core::error::{Error, Kind};
use offloop_core::offload::{Crew, Gate, Pool, Submitted};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::order::{Home, Order};
use super::runner::PyTurns;
use super::worker::{Desk, PyWorker};
use crate::convert::{Imported, lock};
use crate::event_loop::{Bridge, JobTicket};

/// Threads of all pools together; `OFFLOOP_MAX_THREADS` says otherwise. Arbitrary: far above what
/// bulkheads need, far below what systems allow.
const CREW: usize = 1000;

static THE_CREW: LazyLock<Arc<Crew>> = LazyLock::new(|| {
    let asked = std::env::var("OFFLOOP_MAX_THREADS").ok().and_then(|text| text.parse().ok());
    Arc::new(Crew::new(asked.unwrap_or(CREW).max(1)))
});
/// A thread runs or is being started: a forked child would miss it.
static THREADS_EXIST: AtomicBool = AtomicBool::new(false);
/// All pools that are alive, for the end of the interpreter.
static POOLS: Mutex<Vec<Weak<PoolState>>> = Mutex::new(Vec::new());

/// What the system says when it has no thread left (POSIX `pthread_create`).
const EAGAIN: i32 = 11;

/// The queue and the workers of one pool.
pub(crate) struct PoolState {
    pub(crate) name: Arc<str>,
    pub(crate) calls: Arc<Pool<Order>>,
    hired: AtomicU32,
    /// Of all workers, for reports; no more of them live than the limit says.
    desks: Mutex<Vec<Weak<Desk>>>,
    /// Of its views, to be emptied when it closes.
    gates: Mutex<Vec<Weak<Gate<Order>>>>,
    place: Option<PlaceHooks>,
    /// The loop has been asked to grant turns, and has not come to it.
    turns_called: AtomicBool,
    /// What each worker runs before its first call.
    pub(crate) setup: Option<(Py<PyAny>, Py<PyTuple>)>,
}

/// How calls are started that no worker thread takes.
pub(crate) struct PlaceHooks {
    /// `start(turns)` begins the calls whose turn it is.
    pub(crate) start: Py<PyAny>,
    /// `cancel(promise, reason)` tells of one nobody waits for.
    pub(crate) cancel: Py<PyAny>,
}

/// What a pool is made with.
pub(crate) struct Size {
    pub(crate) limit: usize,
    pub(crate) queue: usize,
    pub(crate) idle: Duration,
}

/// Closes the pool when nobody can use it any more: the last terms are gone.
pub(crate) struct Keeper(pub(crate) Arc<PoolState>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.calls.close_gently();
    }
}

impl PoolState {
    pub(crate) fn new(
        name: &str,
        size: &Size,
        place: Option<PlaceHooks>,
        setup: Option<(Py<PyAny>, Py<PyTuple>)>,
    ) -> Arc<Self> {
        let crew = place.is_none().then(|| Arc::clone(&THE_CREW));
        let calls = Pool::new(size.limit, size.queue, size.idle, crew);
        let pool = Arc::new(Self {
            name: name.into(),
            calls: Arc::new(calls),
            hired: AtomicU32::new(0),
            desks: Mutex::default(),
            gates: Mutex::default(),
            place,
            turns_called: AtomicBool::new(false),
            setup,
        });
        let mut pools = lock(&POOLS);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }

    pub(crate) fn place(&self) -> Option<&PlaceHooks> {
        self.place.as_ref()
    }

    /// Has the loop start the calls whose turn it is; once for all that are made meanwhile.
    pub(crate) fn call_for_turns(
        self: &Arc<Self>,
        py: Python<'_>,
        bridge: &Bridge,
    ) -> PyResult<()> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        if self.turns_called.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let turns = Bound::new(py, PyTurns::new(Arc::clone(self)))?;
        match bridge.event_loop(py) {
            Some(event_loop) => {
                let arguments = (&place.start, turns);
                event_loop.call_method1(intern!(py, "call_soon"), arguments).map(drop)
            }
            None => Ok(()),
        }
    }

    /// The turns that were called for are being granted.
    pub(crate) fn turns_begin(&self) {
        self.turns_called.store(false, Ordering::Relaxed);
    }

    pub(crate) fn hire_if(self: &Arc<Self>, py: Python<'_>, submitted: Submitted) {
        if submitted == Submitted::Hire {
            self.hire(py);
        }
    }

    /// Starts one more worker. If the system refuses, those at work will come to the call; if
    /// there are none, all waiting calls fail.
    fn hire(self: &Arc<Self>, py: Python<'_>) {
        static HIRE: Imported = Imported::new("offloop.pools.thread", "hire");
        let number = self.hired.fetch_add(1, Ordering::Relaxed) + 1;
        let desk = Desk::new(Arc::clone(self), number);
        let mut desks = lock(&self.desks);
        desks.retain(|desk| desk.strong_count() > 0);
        desks.push(Arc::downgrade(&desk));
        drop(desks);
        let worker = PyWorker::new(Arc::clone(&desk));
        // Before it runs: its first call may fork.
        THREADS_EXIST.store(true, Ordering::Relaxed);
        let hired = HIRE.load(py).and_then(|hire| hire.call1((worker,)));
        let Err(refusal) = hired else {
            return;
        };
        desk.leave();
        let mut error = Error::new(Kind::Resources, format!("cannot start a thread: {refusal}"));
        error.errno = Some(EAGAIN);
        self.fail_waiting(py, || {
            let mut again = Error::new(Kind::Resources, error.message.clone());
            again.errno = error.errno;
            again
        });
    }

    /// Fails the calls that wait, if no worker is left to run them.
    pub(crate) fn fail_waiting(&self, py: Python<'_>, error: impl Fn() -> Error) {
        if self.calls.workers() > 0 {
            return;
        }
        for order in self.calls.take_all() {
            order.fail(py, error());
        }
    }

    /// Refuses further calls and calls waiting ones off; returns the Futures among them.
    pub(crate) fn call_off(&self, py: Python<'_>, reason: &str) -> Vec<Py<PyAny>> {
        let mut waiting = self.calls.close();
        let gates: Vec<_> = lock(&self.gates).iter().filter_map(Weak::upgrade).collect();
        waiting.extend(gates.iter().flat_map(|gate| gate.take_all()));
        let mut futures = Vec::new();
        for order in waiting {
            if let Home::Future { future, .. } = &order.home {
                futures.push(future.clone_ref(py));
            } else {
                order.fail(py, Error::new(Kind::Closed, reason));
            }
        }
        futures
    }

    /// A gate of a view of this pool.
    pub(crate) fn add_gate(&self, limit: usize, queue: usize) -> Arc<Gate<Order>> {
        let gate = Arc::new(Gate::new(limit, queue));
        let mut gates = lock(&self.gates);
        gates.retain(|gate| gate.strong_count() > 0);
        gates.push(Arc::downgrade(&gate));
        gate
    }

    /// The desk of a worker that is at work.
    pub(crate) fn desk(&self, number: u32) -> Option<Arc<Desk>> {
        self.desks().into_iter().find(|desk| desk.number == number)
    }

    pub(crate) fn desks(&self) -> Vec<Arc<Desk>> {
        lock(&self.desks).iter().filter_map(Weak::upgrade).collect()
    }
}

/// All pools that are alive.
pub(crate) fn pools() -> Vec<Arc<PoolState>> {
    lock(&POOLS).iter().filter_map(Weak::upgrade).collect()
}

/// The thread that runs the call of `ticket`, for how long it has, and the call.
pub(crate) fn who_runs(
    py: Python<'_>,
    ticket: &Arc<JobTicket>,
) -> Option<(u64, Duration, Py<PyTuple>)> {
    pools().iter().flat_map(|pool| pool.desks()).find_map(|desk| desk.runs(py, ticket))
}

/// Whether worker threads exist: a forked child would miss them.
pub(crate) fn has_workers() -> bool {
    THREADS_EXIST.load(Ordering::Relaxed)
}
