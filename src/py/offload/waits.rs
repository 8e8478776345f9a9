//! Who waits for whom: a call that waits for its own full pool is told, and does not hang.
//!
//! A worker that begins to wait for another call notes it at its desk, and then looks whether
//! that call can ever end: it can if it runs on a worker that does not wait itself, if its pool
//! has room, or if anybody in its pool can get on. Each notes before it looks, so of several that
//! close a circle at once at least one sees it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use offloop_core::bridge::Stage;
use offloop_core::error::{Error, Kind};
use offloop_core::offload::Ended;
use pyo3::intern;
use pyo3::prelude::*;

use super::state::PoolState;
use super::terms::Terms;
use super::worker::{Desk, PyWorker};
use crate::convert::{Imported, lock};
use crate::errors;
use crate::event_loop::JobTicket;

thread_local! {
    /// The desk of the worker that this thread is.
    static OWN: RefCell<Option<Arc<Desk>>> = const { RefCell::new(None) };
}

/// How many workers wait for a coroutine in a loop: only then the context is asked on whose
/// behalf a Job starts.
static IN_LOOPS: AtomicUsize = AtomicUsize::new(0);

/// Futures that have failed where no user code may run: their callbacks are called by Python.
static FAILED: Mutex<Vec<(Py<PyAny>, PyErr)>> = Mutex::new(Vec::new());

/// What the call of one worker waits for. Several, if it runs a loop of its own.
#[derive(Default)]
pub(crate) struct Waits {
    noted: Mutex<Vec<Wait>>,
    /// Something was noted during the present call. Written by the worker's own thread, and by a
    /// loop that acts on its behalf; a call that notes nothing, the usual case, takes no lock.
    any: AtomicBool,
}

#[derive(Clone)]
struct Wait {
    ticket: Arc<JobTicket>,
    terms: Arc<Terms>,
}

impl Waits {
    fn add(&self, wait: Wait) {
        self.any.store(true, Ordering::Relaxed);
        let mut waits = lock(&self.noted);
        waits.retain(|wait| !wait.is_over());
        waits.push(wait);
    }

    fn remove(&self, ticket: &Arc<JobTicket>) {
        lock(&self.noted).retain(|wait| !Arc::ptr_eq(&wait.ticket, ticket));
    }

    fn open(&self) -> Vec<Wait> {
        lock(&self.noted).iter().filter(|wait| !wait.is_over()).cloned().collect()
    }

    /// The call is over, and waits for nothing any longer.
    pub(crate) fn end(&self) {
        if self.any.load(Ordering::Relaxed) {
            self.any.store(false, Ordering::Relaxed);
            let over = std::mem::take(&mut *lock(&self.noted));
            drop(over);
        }
    }
}

impl Wait {
    fn is_over(&self) -> bool {
        matches!(self.ticket.stage(), Stage::Done | Stage::Cancelled)
    }

    /// Whether the call can ever end, as far as that can be seen.
    fn can_end(&self, seen: &mut Vec<Arc<Desk>>) -> bool {
        let pool = &self.terms.pool;
        if pool.place().is_some() {
            return true; // it runs elsewhere, where nobody looks
        }
        match self.ticket.stage() {
            Stage::Done | Stage::Cancelled => true,
            Stage::Running => {
                pool.desk(self.ticket.worker()).is_none_or(|desk| can_get_on(&desk, seen))
            }
            Stage::Queued => self.can_pass_the_gate(seen) && can_take_one_more(pool, seen),
        }
    }

    /// Whether the call is let through its gate one day.
    fn can_pass_the_gate(&self, seen: &[Arc<Desk>]) -> bool {
        let Some(gate) = &self.terms.gate else {
            return true;
        };
        let desks = self.terms.pool.desks();
        let inside: Vec<_> = desks.into_iter().filter(|desk| desk.is_behind(gate)).collect();
        inside.len() < gate.limit()
            || inside.iter().any(|desk| can_get_on(desk, &mut seen.to_vec()))
    }
}

fn can_take_one_more(pool: &Arc<PoolState>, seen: &mut Vec<Arc<Desk>>) -> bool {
    pool.calls.has_room()
        || pool.desks().iter().any(|desk| desk.is_busy() && can_get_on(desk, seen))
}

fn can_get_on(desk: &Arc<Desk>, seen: &mut Vec<Arc<Desk>>) -> bool {
    if seen.iter().any(|known| Arc::ptr_eq(known, desk)) {
        return false; // it has been looked at: nothing new that way
    }
    seen.push(Arc::clone(desk));
    let waits = desk.waits.open();
    waits.is_empty() || waits.iter().any(|wait| wait.can_end(seen))
}

/// This thread is the worker at `desk`.
pub(crate) fn arrive(desk: &Arc<Desk>) {
    let previous = OWN.replace(Some(Arc::clone(desk)));
    drop(previous);
}

/// Whether this thread is a worker of `pool`.
pub(crate) fn is_worker_of(pool: &Arc<PoolState>) -> bool {
    OWN.with_borrow(|own| own.as_ref().is_some_and(|desk| Arc::ptr_eq(&desk.pool, pool)))
}

/// The worker on whose behalf this thread acts.
fn behalf(py: Python<'_>) -> PyResult<Option<Arc<Desk>>> {
    static BEHALF: Imported = Imported::new("offloop.pools._current", "behalf");
    let own = OWN.with_borrow(Clone::clone);
    if own.is_some() || IN_LOOPS.load(Ordering::Relaxed) == 0 {
        return Ok(own);
    }
    let worker = BEHALF.load(py)?.call_method1(intern!(py, "get"), (py.None(),))?;
    Ok(worker.cast::<PyWorker>().ok().map(|worker| Arc::clone(worker.get().desk())))
}

/// Notes that the present call, if there is one, waits for `ticket`; fails if it would for ever.
pub(crate) fn check(py: Python<'_>, terms: &Arc<Terms>, ticket: &Arc<JobTicket>) -> PyResult<()> {
    let Some(desk) = behalf(py)? else {
        return Ok(());
    };
    let wait = Wait { ticket: Arc::clone(ticket), terms: Arc::clone(terms) };
    desk.waits.add(wait.clone());
    if wait.can_end(&mut vec![Arc::clone(&desk)]) {
        return Ok(());
    }
    desk.waits.remove(ticket);
    let text = format!(
        "the call of {} waits for one of pool {:?}, which waits for it: all its workers wait",
        desk.name(),
        terms.pool.name
    );
    Err(errors::exception(py, Error::new(Kind::WouldDeadlock, text)))
}

/// A call that was submitted, as its Future knows it.
#[pyclass(name = "Submission", module = "offloop._offloop", frozen)]
pub(crate) struct PySubmission {
    pub(crate) terms: Arc<Terms>,
    pub(crate) ticket: Arc<JobTicket>,
}

#[pymethods]
impl PySubmission {
    /// The Future was cancelled: true when no worker will come for the call.
    fn cancel(&self) -> bool {
        let cancelled = self.ticket.cancel_queued();
        if cancelled {
            self.terms.pool.calls.count(Ended::Cancelled);
        }
        cancelled
    }

    /// This thread begins to wait for the call; fails if it would wait for ever.
    fn begin_wait(&self, py: Python<'_>) -> PyResult<()> {
        check(py, &self.terms, &self.ticket)
    }

    /// This thread waits no longer.
    fn end_wait(&self) {
        if let Some(desk) = OWN.with_borrow(Clone::clone) {
            desk.waits.remove(&self.ticket);
        }
    }
}

/// A worker begins (1) or ends (-1) to wait for a coroutine in a loop.
#[pyfunction]
pub(crate) fn waits_in_loop(change: isize) {
    IN_LOOPS.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
}

/// Leaves a Future that has failed to `take_failed`.
pub(crate) fn fail_future(future: Py<PyAny>, error: PyErr) {
    lock(&FAILED).push((future, error));
}

/// Futures whose calls could not be run, and why; their callbacks have not been called yet.
#[pyfunction]
pub(crate) fn take_failed(py: Python<'_>) -> Vec<(Py<PyAny>, Py<PyAny>)> {
    let failed = std::mem::take(&mut *lock(&FAILED));
    failed.into_iter().map(|(future, error)| (future, error.into_value(py).into_any())).collect()
}

/// Whether `take_failed` has something to give.
pub(crate) fn any_failed() -> bool {
    !lock(&FAILED).is_empty()
}
