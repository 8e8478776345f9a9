//! Offloaded calls: from a Job to whoever runs it, and back through the loop's door.
//!
//! * `runner`: what `Pool` and its views are made of; `terms` are their options.
//! * `state`: one pool; `order`: a call in its queue; `worker`: a thread that takes calls.
//! * `outside`: calls that are run in other processes or interpreters.
//! * `looks`: what long calls do to the loop; `timer`: timeouts; `waits`: who would wait for ever.

mod looks;
mod order;
mod outside;
mod runner;
mod state;
mod terms;
mod timer;
mod waits;
mod worker;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use offloop_core::fetch::Response;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PyTuple};

pub(crate) use looks::{Looks, PyLooks, long_calls};
pub(crate) use order::Task;
pub(crate) use outside::{Errand, Outside, PyPromise, promise};
pub(crate) use runner::{PyRunner, PyTurn, PyTurns};
pub(crate) use state::has_workers;
pub(crate) use terms::{OnCancel, Terms};
pub(crate) use timer::{TimedOut, Timer, watch};
pub(crate) use waits::{PySubmission, take_failed, waits_in_loop};
pub(crate) use worker::PyWorker;

use crate::convert::Imported;
use crate::event_loop::{Bridge, Parcel};
use crate::label::qualified_name;
use order::{Home, Order, OrderKind, put};
use state::{PoolState, pools};

/// The pool of `offloop.run`. Written once, when offloop is imported.
static DEFAULT: OnceLock<Arc<Terms>> = OnceLock::new();

/// A call that runs: function, thread, seconds, and whether nobody waits for it any longer.
pub(crate) type Stuck = (String, String, f64, bool);

/// Makes the pool of `runner` the one that `run` uses.
#[pyfunction]
pub(crate) fn set_default(runner: &Bound<'_, PyRunner>) -> PyResult<()> {
    let _ = DEFAULT.set(Arc::clone(runner.get().terms()?));
    Ok(())
}

/// Has a worker make `bytes` of a large body; gives the response back when none can.
pub(crate) fn copy_body(
    py: Python<'_>,
    response: Box<Response>,
    bridge: &Arc<Bridge>,
    parcel: &Parcel,
) -> Result<(), Box<Response>> {
    let Some(terms) = DEFAULT.get().filter(|terms| terms.pool.place().is_none()) else {
        return Err(response);
    };
    parcel.ticket.reopen();
    let parcel = Parcel::new(parcel.slot, Arc::clone(&parcel.ticket));
    let home = Home::Loop { parcel, bridge: Arc::clone(bridge), outside: None };
    let kind = OrderKind::CopyBody(response, Arc::clone(terms));
    match put(py, Order { kind, home }, Instant::now()) {
        Err((Order { kind: OrderKind::CopyBody(response, _), home }, _)) => {
            home.ticket().retake();
            Err(response)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Awaiting it gives what ``fn(*args, **kwargs)`` returns, called in a worker thread.
///
/// For calls that block: files, databases, `requests`, C code that releases the GIL. Pure Python
/// computation gains nothing in a thread: declare it with `offloaded(kind="cpu")`, or use
/// `to_process`. The call runs in a copy of the context variables that hold when the Job starts,
/// in one of at most 40 threads. A function made by `offloaded` goes where it was declared to.
///
/// Raises the function's own exception, with its traceback; a StopIteration as RuntimeError from
/// it. `PoolFull` when 10,000 calls wait already, `WouldDeadlock` when a call of the same pool
/// would wait for it for ever, `ResourceExhausted` when the system has no thread left, `Closed`
/// at interpreter exit, `ForkedProcessError` in a forked child.
///
/// Cancellation: a call that waits for its turn is dropped. A call that runs cannot be stopped:
/// the await ends when the function has, and then with CancelledError. `Pool.view` has other ways.
///
/// Thread safety: may be called from any thread; the Job starts in a thread that runs a loop.
///
/// >>> await run(sum, [1, 2, 3])
/// 6
#[pyfunction]
#[pyo3(signature = (*call, **keywords), text_signature = "(fn, /, *args, **kwargs)")]
#[expect(clippy::doc_markdown, reason = "the text is Python's documentation")]
pub(crate) fn run(
    py: Python<'_>,
    call: Bound<'_, PyTuple>,
    keywords: Option<Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    if let Ok(function) = call.get_item(0)
        && is_declared(&function)
    {
        let rest = call.get_slice(1, call.len());
        return function.call(rest, keywords.as_ref()).map(Bound::unbind);
    }
    let terms = DEFAULT.get().ok_or_else(|| PyRuntimeError::new_err("offloop is not ready"))?;
    let job = runner::make_job(py, Arc::clone(terms), call, keywords)?;
    Ok(Bound::new(py, job)?.into_any().unbind())
}

/// Whether it was made by `offloaded`: then it knows where to run.
fn is_declared(function: &Bound<'_, PyAny>) -> bool {
    static OFFLOADED: Imported = Imported::new("offloop.pools._offloaded", "Offloaded");
    if function.is_exact_instance_of::<PyFunction>() {
        return false;
    }
    let offloaded = OFFLOADED.load(function.py());
    offloaded.is_ok_and(|class| function.is_instance(class).unwrap_or(false))
}

/// Refuses further calls in all pools, calls waiting ones off, and gives running ones `grace`.
/// Returns what still runs then.
pub(crate) fn close(py: Python<'_>, grace: Duration) -> Vec<Stuck> {
    let deadline = Instant::now() + grace;
    let pools = pools();
    for pool in &pools {
        let futures = pool.call_off(py, "the interpreter is exiting");
        drop(futures);
    }
    let mut stuck = Vec::new();
    for pool in &pools {
        let left = deadline.saturating_duration_since(Instant::now());
        if !py.detach(|| pool.calls.wait_until_empty(left)) {
            stuck.extend(running_calls_of(py, pool));
        }
    }
    stuck
}

/// The calls that threads of pools run now: `[(function, thread, seconds, abandoned)]`.
#[pyfunction]
pub(crate) fn running_calls(py: Python<'_>) -> Vec<Stuck> {
    if !has_workers() {
        return Vec::new();
    }
    pools().iter().flat_map(|pool| running_calls_of(py, pool)).collect()
}

/// The same, of one pool.
fn running_calls_of(py: Python<'_>, pool: &PoolState) -> Vec<Stuck> {
    let desks = pool.desks();
    let running = desks.iter().filter_map(|desk| Some((desk.name(), desk.running(py)?)));
    let running: Vec<_> = running.collect();
    let named = running.into_iter().map(|(worker, running)| {
        let name = qualified_name(running.function.bind(py));
        (name, format!("offloop-{worker}"), running.ran.as_secs_f64(), running.abandoned)
    });
    named.collect()
}
