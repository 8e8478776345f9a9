//! What `offloop.Pool` and its views are made of: [`PyRunner`] makes Jobs on its terms, and
//! [`PyTurns`] gives the calls of a pool without threads to those who start them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use offloop_core::bridge::Ticket;
use offloop_core::error::{Error, Kind};
use offloop_core::offload::{Ended, Histogram};
use offloop_core::runtime;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::is_declared;
use super::order::{Home, Order, OrderKind, Target, Task, leave_gate, put, release};
use super::outside::PyPromise;
use super::state::{Keeper, PlaceHooks, PoolState, Size};
use super::terms::{OnCancel, Terms};
use super::waits::{self, PySubmission};
use crate::convert::{Variables, timeout};
use crate::errors;
use crate::job::PyJob;
use crate::label::Label;
use crate::progress::Work;

/// Runs functions in the workers of a pool, on the terms of a view.
#[pyclass(name = "Runner", module = "offloop._offloop", frozen, subclass, weakref)]
pub(crate) struct PyRunner {
    /// Written once, by `_open` or `_derive`.
    terms: OnceLock<Arc<Terms>>,
}

#[pymethods]
impl PyRunner {
    #[new]
    #[pyo3(signature = (*_arguments, **_options))]
    fn new(_arguments: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        Self { terms: OnceLock::new() }
    }

    /// Makes the pool: its name, how many calls run and wait, after how many seconds a worker
    /// without work leaves, what starts and stops calls elsewhere, what workers begin with.
    fn _open(
        &self,
        name: &str,
        limit: usize,
        queue: usize,
        idle: f64,
        place: Option<(Py<PyAny>, Py<PyAny>)>,
        setup: Option<(Py<PyAny>, Py<PyTuple>)>,
    ) -> PyResult<()> {
        let idle = Duration::try_from_secs_f64(idle)
            .map_err(|error| PyValueError::new_err(format!("idle: {error}")))?;
        let place = place.map(|(start, cancel)| PlaceHooks { start, cancel });
        let pool = PoolState::new(name, &Size { limit, queue, idle }, place, setup);
        let terms = Terms {
            keeper: Arc::new(Keeper(Arc::clone(&pool))),
            pool,
            priority: 0,
            timeout: None,
            queue_timeout: None,
            on_cancel: OnCancel::Wait,
            gate: None,
        };
        self.terms
            .set(Arc::new(terms))
            .map_err(|_| PyRuntimeError::new_err("the pool has been made already"))
    }

    /// Takes the terms of `other`, with those in `options` in their place.
    fn _derive(&self, other: &Self, options: &Bound<'_, PyDict>) -> PyResult<()> {
        let base = other.terms()?;
        let mut terms = Terms {
            pool: Arc::clone(&base.pool),
            keeper: Arc::clone(&base.keeper),
            gate: base.gate.clone(),
            ..**base
        };
        for (name, value) in options {
            match name.extract::<String>()?.as_str() {
                "priority" => {
                    terms.priority = value.extract().map_err(|_| {
                        PyValueError::new_err("priority must be an int from -128 to 127")
                    })?;
                }
                "timeout" => terms.timeout = timeout(&value)?,
                "queue_timeout" => terms.queue_timeout = timeout(&value)?,
                "on_cancel" => {
                    let name: String = value.extract()?;
                    terms.on_cancel = OnCancel::named(&name).ok_or_else(|| {
                        let text =
                            format!("on_cancel must be 'wait', 'abandon' or 'kill', not {name:?}");
                        PyValueError::new_err(text)
                    })?;
                }
                "gate" => {
                    let (limit, queue) = value.extract()?;
                    terms.gate = Some(terms.pool.add_gate(limit, queue));
                }
                other => return Err(PyTypeError::new_err(format!("no option {other:?}"))),
            }
        }
        self.terms
            .set(Arc::new(terms))
            .map_err(|_| PyRuntimeError::new_err("the view has been made already"))
    }

    /// Awaiting it gives what ``fn(*args, **kwargs)`` returns, run in a worker of this pool.
    ///
    /// As `offloop.run`, on the terms of this pool or view. Raises `PoolFull` when the queue is
    /// full, `JobTimeout` when the view's time was up, `Closed` when the pool has been closed, and
    /// `WouldDeadlock` when a call of this pool would wait for it for ever.
    #[pyo3(signature = (*call, **keywords), text_signature = "($self, fn, /, *args, **kwargs)")]
    fn run(
        &self,
        py: Python<'_>,
        call: Bound<'_, PyTuple>,
        keywords: Option<Bound<'_, PyDict>>,
    ) -> PyResult<PyJob> {
        make_job(py, Arc::clone(self.terms()?), undeclared(call)?, keywords)
    }

    /// Queues a call whose outcome goes to `future`.
    fn _submit(
        &self,
        py: Python<'_>,
        future: Py<PyAny>,
        call: Bound<'_, PyTuple>,
        keywords: Option<Bound<'_, PyDict>>,
    ) -> PyResult<(PySubmission, Option<PyTurns>)> {
        runtime::check_alive().map_err(|error| errors::exception(py, error))?;
        let call = undeclared(call)?;
        let function = callable(&call)?;
        let terms = self.terms()?;
        let ticket = Arc::new(Ticket::queued());
        let task = Task {
            terms: Arc::clone(terms),
            target: Target::new(call, &function),
            keywords: keywords.map(Bound::unbind),
        };
        let home = Home::Future { future, ticket: Arc::clone(&ticket) };
        let order = Order { kind: OrderKind::Call(task, Variables::copy(py)?), home };
        put(py, order, Instant::now()).map_err(|(_, error)| errors::exception(py, error))?;
        let turns = terms.pool.place().map(|_| PyTurns::new(Arc::clone(&terms.pool)));
        Ok((PySubmission { terms: Arc::clone(terms), ticket }, turns))
    }

    /// Changes how many calls run at once.
    fn _resize(&self, py: Python<'_>, limit: usize) -> PyResult<PyTurns> {
        let pool = &self.terms()?.pool;
        let submitted = pool.calls.resize(limit);
        pool.hire_if(py, submitted);
        Ok(PyTurns::new(Arc::clone(pool)))
    }

    /// Refuses further calls. With `drop` the waiting ones are called off; returns the Futures
    /// among them.
    fn _close(&self, py: Python<'_>, drop: bool) -> PyResult<Vec<Py<PyAny>>> {
        let terms = self.terms()?;
        if !drop {
            terms.pool.calls.close_gently();
            return Ok(Vec::new());
        }
        Ok(terms.pool.call_off(py, "the pool has been closed"))
    }

    /// After `_close`: waits until nothing runs any more, for so many seconds at most. Without
    /// an end to it, a call of this very pool is refused: it would wait for itself.
    fn _wait(&self, py: Python<'_>, grace: Option<f64>) -> PyResult<bool> {
        if grace.is_none() && waits::is_worker_of(&self.terms()?.pool) {
            let text = "a call cannot wait for the end of its own pool";
            return Err(errors::exception(py, Error::new(Kind::WouldDeadlock, text)));
        }
        let grace = grace.map_or(Ok(Duration::MAX), Duration::try_from_secs_f64);
        let grace = grace.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let calls = Arc::clone(&self.terms()?.pool.calls);
        Ok(py.detach(|| calls.wait_until_empty(grace)))
    }

    /// The calls that run now: `(function, thread, seconds, abandoned)`.
    fn _running(&self, py: Python<'_>) -> PyResult<Vec<super::Stuck>> {
        Ok(super::running_calls_of(py, &self.terms()?.pool))
    }

    /// The pool as it is now.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let terms = self.terms()?;
        let (snapshot, swept) = terms.pool.calls.snapshot();
        release(swept);
        let stats = PyDict::new(py);
        let before_gate = terms.gate.as_ref().map_or(0, |gate| gate.waiting());
        stats.set_item("queued", snapshot.queued + before_gate)?;
        stats.set_item("running", snapshot.running)?;
        let figures = &snapshot.figures;
        stats.set_item("done", figures.done)?;
        stats.set_item("failed", figures.failed)?;
        stats.set_item("cancelled", figures.cancelled)?;
        stats.set_item("abandoned", figures.abandoned)?;
        stats.set_item("workers", snapshot.workers)?;
        stats.set_item("limit", snapshot.limit)?;
        stats.set_item("queue_time", histogram(py, &figures.queued)?)?;
        stats.set_item("run_time", histogram(py, &figures.ran)?)?;
        Ok(stats)
    }
}

impl PyRunner {
    pub(crate) fn terms(&self) -> PyResult<&Arc<Terms>> {
        let missing = || PyRuntimeError::new_err("Pool.__init__ has not been called");
        self.terms.get().ok_or_else(missing)
    }
}

/// `{"total": seconds, "counts": {upper bound in seconds: how many}}`.
fn histogram<'py>(py: Python<'py>, histogram: &Histogram) -> PyResult<Bound<'py, PyDict>> {
    let counts = PyDict::new(py);
    for (bound, count) in histogram.bounds() {
        counts.set_item(bound, count)?;
    }
    let shown = PyDict::new(py);
    shown.set_item("total", histogram.total().as_secs_f64())?;
    shown.set_item("counts", counts)?;
    Ok(shown)
}

/// The function of a call.
fn callable<'py>(call: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let Ok(function) = call.get_item(0) else {
        return Err(PyTypeError::new_err("a function to call is needed"));
    };
    if function.is_callable() {
        return Ok(function);
    }
    let kind = function.get_type().name()?;
    Err(PyTypeError::new_err(format!("a function to call is needed, not {kind}")))
}

/// The call, of the function itself if it was made by `offloaded`: a pool runs it in its own
/// workers.
fn undeclared(call: Bound<'_, PyTuple>) -> PyResult<Bound<'_, PyTuple>> {
    let Ok(declared) = call.get_item(0) else {
        return Ok(call);
    };
    if !is_declared(&declared) {
        return Ok(call);
    }
    let py = call.py();
    let function = declared.getattr(intern!(py, "fn"))?;
    let arguments = call.iter().skip(1);
    undeclared(PyTuple::new(py, std::iter::once(function).chain(arguments).collect::<Vec<_>>())?)
}

/// A Job that calls `call[0](*call[1:], **keywords)`.
pub(crate) fn make_job(
    py: Python<'_>,
    terms: Arc<Terms>,
    call: Bound<'_, PyTuple>,
    keywords: Option<Bound<'_, PyDict>>,
) -> PyResult<PyJob> {
    let function = callable(&call)?;
    let target = Target::new(call, &function);
    let task = Task { terms, target, keywords: keywords.map(Bound::unbind) };
    PyJob::new(py, Label::Call(function.unbind()), Work::Call(task))
}

/// The calls of a pool whose turn has come, one after the other.
#[pyclass(name = "Turns", module = "offloop._offloop", frozen)]
pub(crate) struct PyTurns {
    pool: Arc<PoolState>,
}

/// `(context, call, keywords, promise or (future,), turn)`.
type Granted = (Py<PyAny>, Py<PyTuple>, Option<Py<PyDict>>, Py<PyAny>, PyTurn);

#[pymethods]
impl PyTurns {
    fn __iter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.get().pool.turns_begin();
        slf.clone()
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Granted>> {
        loop {
            let Some(order) = self.pool.calls.grant(Instant::now()) else {
                return Ok(None);
            };
            let terms = order.terms();
            let ticket = order.home.ticket();
            if ticket.stage() != offloop_core::bridge::Stage::Queued {
                order.send_back();
                self.pool.calls.release(None, Duration::ZERO);
                leave_gate(py, &terms);
                continue;
            }
            let Order { kind: OrderKind::Call(task, variables), home } = order else {
                self.pool.calls.release(None, Duration::ZERO);
                continue;
            };
            let on_cancel = terms.on_cancel.name();
            let outcome = match home {
                Home::Loop { parcel, bridge, outside: Some(outside) } => {
                    let promise = PyPromise::made(py, outside, parcel, bridge, on_cancel)?;
                    promise.into_any().unbind()
                }
                Home::Future { future, ticket } => {
                    let _ = ticket.begin(1);
                    PyTuple::new(py, [future])?.into_any().unbind()
                }
                Home::Loop { outside: None, .. } => continue, // a worker's: not of such a pool
            };
            let turn = PyTurn { terms, since: Instant::now(), over: AtomicBool::new(false) };
            let (context, call) = (variables.into_context(py)?, task.target.call(py)?);
            return Ok(Some((context, call, task.keywords, outcome, turn)));
        }
    }
}

impl PyTurns {
    pub(crate) fn new(pool: Arc<PoolState>) -> Self {
        Self { pool }
    }
}

/// The turn of one call: as long as it lasts, the call counts in its pool's limit.
#[pyclass(name = "Turn", module = "offloop._offloop", frozen)]
pub(crate) struct PyTurn {
    terms: Arc<Terms>,
    since: Instant,
    over: AtomicBool,
}

#[pymethods]
impl PyTurn {
    /// The call is over: ``"done"``, ``"failed"``, ``"cancelled"``, or None when it was counted
    /// before.
    fn end(&self, py: Python<'_>, how: Option<&str>) {
        if self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        let ended = how.map(|how| match how {
            "done" => Ended::Done,
            "failed" => Ended::Failed,
            _ => Ended::Cancelled,
        });
        self.terms.pool.calls.release(ended, self.since.elapsed());
        leave_gate(py, &self.terms);
    }
}
