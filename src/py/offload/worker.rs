//! Worker threads: `threading.Thread`s that run `offloop.pools.thread.work`, a Python loop over
//! [`PyWorker::next`], so that no Rust frame lies below user code (see `event_loop`). A worker
//! keeps the GIL over several calls when they are short, and waits without it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use offloop_core::bridge::Stage;
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{Body, Response, Whole};
use offloop_core::offload::{Ended, Gate, Taken, Waiting, Worker};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTraceback, PyTuple};

use super::order::{Finished, Home, Order, OrderKind, Task, as_raised, finish, leave_gate, lost};
use super::state::PoolState;
use super::waits::{self, Waits};
use crate::bytes::Blank;
use crate::convert::lock;
use crate::event_loop::JobTicket;
use crate::fetch::PyResponse;
use crate::label::qualified_name;
use crate::outcome::Outcome;

/// How long a worker keeps the GIL over short calls: the loop waits for it, so less than its own
/// turns (1 ms). Measured, decision 38: letting go after 8 calls already costs a wake-up of the loop
/// each time.
const HOLD: Duration = Duration::from_micros(500);
/// Calls before the clock is asked whether a hold has lasted long enough.
const CALLS_PER_HOLD: u32 = 8;
/// From here on a call is long: it may have been looked at (`_hogs.LEAST`), so its end is told of.
const LONG: Duration = Duration::from_millis(20);

/// What a worker has before it. Written by its own thread, read by reports.
pub(crate) struct Desk {
    pub(crate) pool: Arc<PoolState>,
    pub(crate) number: u32,
    /// `threading.get_ident()`, for its stack; written once by `PyWorker::arrive`.
    ident: AtomicU64,
    /// `threading.get_native_id()`, for its clock; written with `ident`.
    native: AtomicU64,
    born: Instant,
    /// Taken out when the thread ends: a traceback may keep the rest alive for long.
    worker: Mutex<Option<Worker<Order>>>,
    current: Mutex<Option<Current>>,
    /// What its present call waits for.
    pub(crate) waits: Waits,
}

/// A call that a worker runs right now.
struct Current {
    home: Home,
    task: Task,
    result: Option<PyResult<Py<PyAny>>>,
    since: Instant,
    /// When the result was there.
    until: Option<Instant>,
}

/// A call as `long_calls` shows it: native thread, number of nanoseconds that tells it from other
/// calls of that thread, function, seconds.
pub(super) type Long = (u64, u128, Py<PyAny>, f64);

/// What may be told of a call that runs.
pub(crate) struct Running {
    pub(crate) function: Py<PyAny>,
    pub(crate) ran: Duration,
    pub(crate) abandoned: bool,
}

impl Desk {
    pub(crate) fn new(pool: Arc<PoolState>, number: u32) -> Arc<Self> {
        let worker = Mutex::new(Some(Worker::hired(&pool.calls)));
        let current = Mutex::default();
        let (ident, native) = (AtomicU64::new(0), AtomicU64::new(0));
        let (born, waits) = (Instant::now(), Waits::default());
        Arc::new(Self { pool, number, ident, native, born, worker, current, waits })
    }

    fn take(&self, now: Instant, ended: Option<Ended>, ran: Duration) -> Taken<Order> {
        let mut worker = lock(&self.worker);
        worker.as_mut().map_or(Taken::Leave, |worker| worker.take(now, ended, ran))
    }

    /// Sleeps until there may be an order; false when the thread has to end.
    fn wait(&self) -> bool {
        lock(&self.worker).as_mut().is_some_and(Worker::wait)
    }

    pub(crate) fn leave(&self) {
        let worker = lock(&self.worker).take();
        drop(worker);
    }

    /// What it runs, if it does.
    pub(crate) fn running(&self, py: Python<'_>) -> Option<Running> {
        let current = lock(&self.current);
        let current = current.as_ref()?;
        Some(Running {
            function: current.task.target.function(py).ok()?,
            ran: current.since.elapsed(),
            abandoned: !matches!(current.home.ticket().stage(), Stage::Running),
        })
    }

    /// The thread, for how long it has run the call of `ticket`, and the call.
    pub(crate) fn runs(
        &self,
        py: Python<'_>,
        ticket: &Arc<JobTicket>,
    ) -> Option<(u64, Duration, Py<PyTuple>)> {
        let current = lock(&self.current);
        let current = current.as_ref()?;
        if !Arc::ptr_eq(current.home.ticket(), ticket) {
            return None;
        }
        let call = current.task.target.call(py).ok()?;
        Some((self.ident.load(Ordering::Relaxed), current.since.elapsed(), call))
    }

    /// What it runs, if it has for so long.
    pub(super) fn long_call(&self, py: Python<'_>, least: Duration) -> Option<Long> {
        let current = lock(&self.current);
        let current = current.as_ref().filter(|it| it.until.is_none())?;
        let ran = current.since.elapsed();
        if ran < least {
            return None;
        }
        let mark = current.since.saturating_duration_since(self.born).as_nanos();
        let function = current.task.target.function(py).ok()?;
        Some((self.native.load(Ordering::Relaxed), mark, function, ran.as_secs_f64()))
    }

    /// Whether it runs a call.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.current).is_some()
    }

    /// Whether it runs a call that came through `gate`.
    pub(crate) fn is_behind(&self, gate: &Arc<Gate<Order>>) -> bool {
        lock(&self.current).as_ref().is_some_and(|current| {
            current.task.terms.gate.as_ref().is_some_and(|own| Arc::ptr_eq(own, gate))
        })
    }

    /// `"io-3"`.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.pool.name, self.number)
    }
}

/// `context.run(*call, **keywords)`, taken apart for Python to put together, and the Future that
/// is to have the outcome, if it is not a Job.
type CallToRun = (Py<PyAny>, Py<PyTuple>, Option<Py<PyDict>>, Option<Py<PyAny>>);

/// One worker thread; used by that thread alone.
#[pyclass(name = "Worker", module = "offloop._offloop", frozen)]
pub(crate) struct PyWorker {
    /// Calls taken since the GIL was last let go.
    calls_in_hold: AtomicU32,
    /// When that was, in nanoseconds since the desk was born.
    held_since: AtomicU64,
    desk: Arc<Desk>,
}

#[pymethods]
impl PyWorker {
    /// `"io-3"`: the thread is called `offloop-io-3`, and `job.where` says `thread:io-3`.
    #[getter]
    fn name(&self) -> String {
        self.desk.name()
    }

    /// The name of the pool.
    #[getter]
    fn pool(&self) -> String {
        self.desk.pool.name.to_string()
    }

    /// The thread begins: notes its identity, and names it to the system.
    fn arrive(&self, ident: u64, native: u64) {
        self.desk.ident.store(ident, Ordering::Relaxed);
        self.desk.native.store(native, Ordering::Relaxed);
        waits::arrive(&self.desk);
        name_thread(&self.desk);
    }

    /// What to run before the first call: `(initializer, initargs)`.
    #[getter]
    fn setup(&self, py: Python<'_>) -> Option<(Py<PyAny>, Py<PyTuple>)> {
        let (initializer, arguments) = self.desk.pool.setup.as_ref()?;
        Some((initializer.clone_ref(py), arguments.clone_ref(py)))
    }

    /// The initializer has failed: the worker leaves, and waiting calls fail if it was the last.
    fn refuse(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        self.desk.leave();
        let text = format!("the initializer of pool {:?} failed", self.desk.pool.name);
        self.desk.pool.fail_waiting(py, || {
            let mut failure = Error::new(Kind::Initializer, text.clone());
            failure.details().payload = Some(Box::new(error.clone().unbind()));
            failure
        });
    }

    /// Sends the last outcome home and waits for the next call: `(context, call, keywords,
    /// future)`, to be run as `context.run(*call, **keywords)`. None when the thread has to end.
    fn next(&self, py: Python<'_>) -> PyResult<Option<CallToRun>> {
        let (mut finished, mut ended, mut ran, now) = self.end_last(py);
        let mut now = now.unwrap_or_else(Instant::now);
        // Rung when the GIL is let go, or before user code runs: the loop could not run earlier.
        let mut bell = None;
        loop {
            if self.has_held_long(now) {
                let due = (bell.take(), finished.take().map(Finished::send));
                py.detach(|| {
                    drop(due);
                    std::thread::yield_now();
                });
                now = Instant::now();
                self.hold_begins(now);
            }
            let taken = self.desk.take(now, ended.take(), ran);
            if let Some(rung) = finished.take().and_then(Finished::send) {
                bell = Some(rung);
            }
            let (order, next) = match taken {
                Taken::Call(Waiting { call, .. }, next) => (call, next),
                Taken::Nothing => {
                    let bell = bell.take();
                    let more = py.detach(|| {
                        drop(bell);
                        self.desk.wait()
                    });
                    now = Instant::now();
                    self.hold_begins(now);
                    if more {
                        continue;
                    }
                    self.desk.leave();
                    return Ok(None);
                }
                Taken::Leave => {
                    drop(bell);
                    self.desk.leave();
                    return Ok(None);
                }
            };
            self.desk.pool.hire_if(py, next);
            let Order { kind, home } = order;
            match (kind, home) {
                (OrderKind::CopyBody(response, _), Home::Loop { parcel, bridge, .. }) => {
                    let copied = copied(py, response);
                    let good = copied.is_ok();
                    let (copy, how) = finish(parcel, bridge, copied, good);
                    (finished, ended, ran) = (Some(copy), how, now.elapsed());
                    now = Instant::now();
                }
                (OrderKind::Call(task, variables), home) => {
                    if !home.ticket().begin(self.desk.number) {
                        // Cancelled while it waited: what is left goes home unopened.
                        let terms = Arc::clone(&task.terms);
                        Order { kind: OrderKind::Call(task, variables), home }.send_back();
                        leave_gate(py, &terms);
                        (ended, ran) = (None, Duration::ZERO);
                        continue;
                    }
                    let (call, context) = (task.target.call(py)?, variables.into_context(py)?);
                    let keywords = task.keywords.as_ref().map(|keywords| keywords.clone_ref(py));
                    let future = match &home {
                        Home::Future { future, .. } => Some(future.clone_ref(py)),
                        Home::Loop { .. } => None,
                    };
                    let current = Current { home, task, result: None, since: now, until: None };
                    *lock(&self.desk.current) = Some(current);
                    return Ok(Some((context, call, keywords, future)));
                }
                // Bodies are copied for Jobs alone.
                (OrderKind::CopyBody(..), Home::Future { .. }) => {}
            }
        }
    }

    /// The call returned `value`. Tells whether it took long.
    fn done(&self, value: Py<PyAny>) -> bool {
        self.set_result(Ok(value))
    }

    /// The call raised `error`; `traceback` begins in the user's function. As `done`.
    fn raised(
        &self,
        py: Python<'_>,
        error: Bound<'_, PyAny>,
        traceback: Option<Bound<'_, PyTraceback>>,
    ) -> bool {
        self.set_result(Err(as_raised(py, error, traceback)))
    }

    /// Whether nobody waits for the present call any longer, or its end has been asked for.
    fn cancelled(&self) -> bool {
        lock(&self.desk.current).as_ref().is_some_and(|current| {
            let ticket = current.home.ticket();
            ticket.is_asked_to_stop() || ticket.stage() != Stage::Running
        })
    }

    /// The loop of the Job that is run, if it is one's and lives.
    fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let bridge = match &lock(&self.desk.current).as_ref()?.home {
            Home::Loop { bridge, .. } => Arc::clone(bridge),
            Home::Future { .. } => return None,
        };
        bridge.event_loop(py)
    }

    /// The name of the function that is run, and for how many seconds.
    fn describe(&self, py: Python<'_>) -> Option<(String, f64)> {
        let running = self.desk.running(py)?;
        Some((qualified_name(running.function.bind(py)), running.ran.as_secs_f64()))
    }
}

impl PyWorker {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { calls_in_hold: AtomicU32::new(0), held_since: AtomicU64::new(0), desk }
    }

    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// True when the call has taken long.
    fn set_result(&self, result: PyResult<Py<PyAny>>) -> bool {
        let now = Instant::now();
        let mut current = lock(&self.desk.current);
        current.as_mut().is_some_and(|current| {
            current.result = Some(result);
            current.until = Some(now);
            now.saturating_duration_since(current.since) >= LONG
        })
    }

    /// Whether it is time to let go of the GIL.
    fn has_held_long(&self, now: Instant) -> bool {
        if self.calls_in_hold.fetch_add(1, Ordering::Relaxed) < CALLS_PER_HOLD {
            return false;
        }
        let since = Duration::from_nanos(self.held_since.load(Ordering::Relaxed));
        now.saturating_duration_since(self.desk.born).saturating_sub(since) >= HOLD
    }

    fn hold_begins(&self, now: Instant) {
        self.calls_in_hold.store(0, Ordering::Relaxed);
        let since = now.saturating_duration_since(self.desk.born).as_nanos();
        self.held_since.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Puts the outcome of the last call down; it is sent when the call is out of the books. Tells
    /// how it ended, how long it took, and when it was over.
    fn end_last(
        &self,
        py: Python<'_>,
    ) -> (Option<Finished>, Option<Ended>, Duration, Option<Instant>) {
        let Some(current) = lock(&self.desk.current).take() else {
            return (None, None, Duration::ZERO, None);
        };
        let Current { home, task, result, since, until } = current;
        let now = until.unwrap_or_else(Instant::now);
        let ran = now.saturating_duration_since(since);
        self.desk.waits.end();
        if task.terms.gate.is_some() {
            leave_gate(py, &task.terms);
        }
        let good = matches!(&result, Some(Ok(_)));
        match home {
            Home::Loop { parcel, bridge, .. } => {
                let outcome = match result {
                    Some(result) => Ok(Outcome::Called(Box::new((result, Some(task))))),
                    None => Err(Box::new(lost())),
                };
                let (finished, ended) = finish(parcel, bridge, outcome, good);
                (Some(finished), ended, ran, Some(now))
            }
            Home::Future { ticket, .. } => {
                let ended = match result {
                    None => Ended::Cancelled,
                    Some(Ok(_)) => Ended::Done,
                    Some(Err(_)) => Ended::Failed,
                };
                let _ = ticket.complete(Ok(Outcome::Nothing));
                (None, Some(ended), ran, Some(now))
            }
        }
    }
}

/// A response whose body is `bytes` already, copied without the GIL.
fn copied(py: Python<'_>, mut response: Box<Response>) -> Result<Outcome, Box<Error>> {
    let nothing = Body::Whole(Whole::default());
    let whole = match std::mem::replace(&mut response.body, nothing) {
        Body::Whole(whole) => whole,
        body @ (Body::Streaming(_) | Body::Placed(_) | Body::Kept(_) | Body::Absent) => {
            response.body = body;
            return Ok(Outcome::Response(response));
        }
    };
    let refused = |error: PyErr| {
        let text = format!("cannot copy the body: {error}");
        Box::new(Error::new(Kind::Internal, text))
    };
    let blank = match Blank::new(py, whole.len()) {
        Ok(blank) => blank,
        // What came is let go; its awaiter learns that there is no memory for it.
        Err(error) => return Ok(Outcome::Called(Box::new((Err(error), None)))),
    };
    let content = py.detach(|| {
        // Each piece goes as soon as it is copied: its memory is warm for the next one.
        blank.filled(whole.into_pieces())
    });
    let made = Bound::new(py, PyResponse::with_content(response, content)).map_err(refused)?;
    Ok(Outcome::Object(made.into_any().unbind()))
}

/// What `top -H` and debuggers show: at most 15 bytes, of which the number is the last to go.
#[cfg(target_os = "linux")]
fn name_thread(desk: &Desk) {
    let number = format!("-{}", desk.number);
    let mut name = String::from("offloop-");
    if name.len() + desk.pool.name.len() + number.len() > 15 {
        name.clear();
    }
    for letter in desk.pool.name.chars() {
        if name.len() + letter.len_utf8() + number.len() > 15 {
            break;
        }
        name.push(letter);
    }
    name.push_str(&number);
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// Python 3.14 and newer name their threads to the system themselves.
#[cfg(not(target_os = "linux"))]
fn name_thread(_desk: &Desk) {}
