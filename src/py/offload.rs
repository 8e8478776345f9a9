//! Offloaded calls: from a Job to a worker thread and back through the loop's door.
//!
//! Workers are `threading.Thread`s that run `offloop.pools.thread.work`: a Python loop over
//! [`PyWorker::next`], so that no Rust frame lies below user code (see `event_loop`). A worker
//! keeps the GIL over several jobs when they are short, and waits without it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant};

use offloop_core::bridge::Bell;
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::Response;
use offloop_core::offload::{Pool, Submitted, Worker};
use offloop_core::runtime;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::convert::{Imported, copy_context, lock};
use crate::doorbell::LoopBell;
use crate::event_loop::{Bridge, JobDoor, Parcel};
use crate::job::PyJob;
use crate::label::{Label, qualified_name};
use crate::outcome::Outcome;
use crate::progress::Work;
use crate::response::PyResponse;

/// As many threads as anyio's default limiter allows.
const THREADS: usize = 40;
/// Calls that may wait for a thread before `PoolFull`.
const QUEUE: usize = 10_000;
/// Jobs a worker runs before it lets go of the GIL for a moment. Measured by the prototype: more
/// brings nothing, and the loop waits for it.
const JOBS_PER_HOLD: u32 = 8;

static POOL: LazyLock<Arc<Pool<Order>>> = LazyLock::new(|| Arc::new(Pool::new(THREADS, QUEUE)));
static HIRED: AtomicU32 = AtomicU32::new(0);
/// A thread runs or is being started: a forked child would miss it.
static THREADS_EXIST: AtomicBool = AtomicBool::new(false);
/// The desks of all workers, for the report at exit; at most `THREADS` of them live.
static DESKS: Mutex<Vec<Weak<Desk>>> = Mutex::new(Vec::new());

/// `function(*args, **kwargs)`, not yet started. The function is the first element of `call`.
#[derive(Debug)]
pub(crate) struct Task {
    call: Py<PyTuple>,
    keywords: Option<Py<PyDict>>,
}

/// Something for a worker to do, and where its outcome goes.
struct Order {
    job: OrderKind,
    parcel: Parcel,
    door: Arc<JobDoor>,
}

enum OrderKind {
    Call { task: Task, context: Py<PyAny> },
    CopyBody(Box<Response>),
}

impl Task {
    /// Queues the call, in a copy of the present context.
    pub(crate) fn submit(
        self,
        py: Python<'_>,
        bridge: &Bridge,
        parcel: Parcel,
    ) -> Result<(), Error> {
        runtime::check_alive()?;
        let context = copy_context(py)
            .map_err(|error| Error::new(Kind::Internal, error.to_string()))?
            .unbind();
        let job = OrderKind::Call { task: self, context };
        let door = Arc::clone(&bridge.door);
        submit(py, Order { job, parcel, door }).map_err(|(_, error)| error)
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.call)?;
        self.keywords.as_ref().map_or(Ok(()), |keywords| visit.call(keywords))
    }
}

/// Has a worker make `bytes` of a large body; gives the response back when none can.
pub(crate) fn copy_body(
    py: Python<'_>,
    response: Box<Response>,
    bridge: &Bridge,
    parcel: &Parcel,
) -> Result<(), Box<Response>> {
    parcel.ticket.reopen();
    let parcel = Parcel::new(parcel.slot, Arc::clone(&parcel.ticket));
    let order =
        Order { job: OrderKind::CopyBody(response), parcel, door: Arc::clone(&bridge.door) };
    match submit(py, order) {
        Err((Order { job: OrderKind::CopyBody(response), parcel, .. }, _)) => {
            parcel.ticket.retake();
            Err(response)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn submit(py: Python<'_>, order: Order) -> Result<(), (Order, Error)> {
    match POOL.submit(order)? {
        Submitted::Covered => Ok(()),
        Submitted::Hire => {
            hire(py);
            Ok(())
        }
    }
}

/// Starts one more worker. If the system refuses, those at work will come to the job; if there
/// are none, all waiting jobs fail.
fn hire(py: Python<'_>) {
    static HIRE: Imported = Imported::new("offloop.pools.thread", "hire");
    let number = HIRED.fetch_add(1, Ordering::Relaxed) + 1;
    let worker = Mutex::new(Some(POOL.worker()));
    let desk = Arc::new(Desk { number, worker, current: Mutex::default() });
    let mut desks = lock(&DESKS);
    desks.retain(|desk| desk.strong_count() > 0);
    desks.push(Arc::downgrade(&desk));
    drop(desks);
    let worker = PyWorker { jobs_in_hold: AtomicU32::new(0), desk: Arc::clone(&desk) };
    // Before it runs: its first call may fork.
    THREADS_EXIST.store(true, Ordering::Relaxed);
    let hired = HIRE.load(py).and_then(|hire| hire.call1((worker,)));
    let Err(refusal) = hired else {
        return;
    };
    let refusal = refusal.to_string();
    desk.leave();
    if POOL.workers() > 0 {
        return;
    }
    THREADS_EXIST.store(false, Ordering::Relaxed);
    for order in POOL.take_all() {
        let mut error = Error::new(Kind::Resources, format!("cannot start a thread: {refusal}"));
        error.errno = Some(EAGAIN);
        order.send(Err(Box::new(error)));
    }
}

/// What the system says when it has no thread left (POSIX `pthread_create`).
const EAGAIN: i32 = 11;

impl Order {
    /// Sends the outcome home; dropped where the loop has closed.
    fn send(self, outcome: Result<Outcome, Box<Error>>) {
        let Self { job, parcel, door } = self;
        // The call's objects go first, while they still have another owner in the worker's frame.
        drop(job);
        drop(deliver(parcel, &door, outcome));
    }
}

/// Sends an outcome home; gives the bell to ring, if it is this one's turn.
fn deliver(
    parcel: Parcel,
    door: &JobDoor,
    outcome: Result<Outcome, Box<Error>>,
) -> Option<Bell<LoopBell>> {
    parcel.ticket.complete(outcome).ok()?;
    door.queue.push(parcel).ok()?
}

/// `context.run(*call, **keywords)`, taken apart for Python to put together.
type CallToRun = (Py<PyAny>, Py<PyTuple>, Option<Py<PyDict>>);

/// A call that a worker runs right now.
struct Current {
    parcel: Parcel,
    door: Arc<JobDoor>,
    task: Task,
    result: Option<PyResult<Py<PyAny>>>,
    since: Instant,
}

/// What a worker has before it. Written by its own thread, read by the report at exit.
struct Desk {
    number: u32,
    /// Taken out when the thread ends: a traceback may keep the rest alive for long.
    worker: Mutex<Option<Worker<Order>>>,
    current: Mutex<Option<Current>>,
}

impl Desk {
    fn take_order(&self) -> Option<(Order, Submitted)> {
        lock(&self.worker).as_mut()?.try_take()
    }

    /// Sleeps until there may be an order; false when the thread has to end.
    fn wait(&self) -> bool {
        lock(&self.worker).as_mut().is_some_and(Worker::wait)
    }

    fn leave(&self) {
        let worker = lock(&self.worker).take();
        drop(worker);
    }
}

/// One worker thread; used by that thread alone.
#[pyclass(name = "Worker", module = "offloop._offloop", frozen)]
pub(crate) struct PyWorker {
    /// Jobs taken since the GIL was last let go.
    jobs_in_hold: AtomicU32,
    desk: Arc<Desk>,
}

#[pymethods]
impl PyWorker {
    /// `"io-3"`: the thread is called `offloop-io-3`, and `job.where` says `thread:io-3`.
    #[getter]
    fn name(&self) -> String {
        format!("io-{}", self.desk.number)
    }

    /// Sends the last outcome home and waits for the next call: `(context, call, keywords)`, to
    /// be run as `context.run(*call, **keywords)`. None when the thread has to end.
    fn next(&self, py: Python<'_>) -> PyResult<Option<CallToRun>> {
        // Rung when the GIL is let go, or before user code runs: the loop could not run earlier.
        let mut bell = self.send_last();
        loop {
            if self.jobs_in_hold.fetch_add(1, Ordering::Relaxed) >= JOBS_PER_HOLD {
                self.jobs_in_hold.store(0, Ordering::Relaxed);
                let bell = bell.take();
                py.detach(|| drop(bell));
            }
            let taken = self.desk.take_order();
            let Some((order, next)) = taken else {
                self.jobs_in_hold.store(0, Ordering::Relaxed);
                let bell = bell.take();
                let more = py.detach(|| {
                    drop(bell);
                    self.desk.wait()
                });
                if more {
                    continue;
                }
                self.desk.leave();
                return Ok(None);
            };
            if next == Submitted::Hire {
                hire(py);
            }
            let Order { job, mut parcel, door } = order;
            match job {
                OrderKind::CopyBody(response) => {
                    drop(deliver(parcel, &door, copied(py, *response)));
                }
                OrderKind::Call { task, context } if !parcel.ticket.begin(self.desk.number) => {
                    // Cancelled while it waited: what is left of it goes home unopened.
                    parcel.remains = Some(Box::new((task, context)));
                    drop(door.queue.push(parcel));
                }
                OrderKind::Call { task, context } => {
                    let call = task.call.clone_ref(py);
                    let keywords = task.keywords.as_ref().map(|keywords| keywords.clone_ref(py));
                    let since = Instant::now();
                    let current = Current { parcel, door, task, result: None, since };
                    *lock(&self.desk.current) = Some(current);
                    return Ok(Some((context, call, keywords)));
                }
            }
        }
    }

    /// The call returned `value`.
    fn done(&self, value: Py<PyAny>) {
        self.set_result(Ok(value));
    }

    /// The call raised `error`; `traceback` begins in the user's function.
    fn raised(
        &self,
        py: Python<'_>,
        error: Bound<'_, PyAny>,
        traceback: Option<Bound<'_, pyo3::types::PyTraceback>>,
    ) {
        let raised = if error.is_instance_of::<PyStopIteration>() {
            // A StopIteration would end the awaiting coroutine instead of being raised in it.
            let wrapped = PyRuntimeError::new_err("the offloaded function raised StopIteration");
            wrapped.set_cause(py, Some(PyErr::from_value(error)));
            wrapped
        } else {
            PyErr::from_value(error)
        };
        raised.set_traceback(py, traceback);
        self.set_result(Err(raised));
    }
}

impl PyWorker {
    fn set_result(&self, result: PyResult<Py<PyAny>>) {
        if let Some(current) = lock(&self.desk.current).as_mut() {
            current.result = Some(result);
        }
    }

    fn send_last(&self) -> Option<Bell<LoopBell>> {
        let Current { parcel, door, task, result, .. } = lock(&self.desk.current).take()?;
        let lost = || Err(PyRuntimeError::new_err("the call was left without a result"));
        deliver(parcel, &door, Ok(Outcome::Called(Box::new((result.unwrap_or_else(lost), task)))))
    }
}

/// A response whose body is `bytes` already, copied without the GIL.
fn copied(py: Python<'_>, response: Response) -> Result<Outcome, Box<Error>> {
    let body = response.body.clone();
    let bytes = PyBytes::new_with(py, body.len(), |buffer| {
        py.detach(|| buffer.copy_from_slice(&body));
        Ok(())
    });
    let made =
        bytes.and_then(|bytes| Bound::new(py, PyResponse::with_content(response, bytes.unbind())));
    match made {
        Ok(response) => Ok(Outcome::Object(response.into_any().unbind())),
        Err(error) => {
            let text = format!("cannot copy the body: {error}");
            Err(Box::new(Error::new(Kind::Internal, text)))
        }
    }
}

/// Awaiting it gives what ``fn(*args, **kwargs)`` returns, called in a worker thread.
///
/// For calls that block: files, databases, `requests`, C code that releases the GIL. Pure Python
/// computation gains nothing in a thread. The call runs in a copy of the context variables that
/// hold when the Job starts, in one of at most 40 threads.
///
/// Raises the function's own exception, with its traceback; a StopIteration as RuntimeError from
/// it. `PoolFull` when 10,000 calls wait already, `ResourceExhausted` when the system has no
/// thread left, `Closed` at interpreter exit, `ForkedProcessError` in a forked child.
///
/// Cancellation: a call that waits for its turn is dropped. A call that runs cannot be stopped:
/// the await ends when the function has, and then with CancelledError.
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
) -> PyResult<PyJob> {
    let Ok(function) = call.get_item(0) else {
        return Err(PyTypeError::new_err("run() needs a function to call"));
    };
    let function = function.unbind();
    let task = Task { call: call.unbind(), keywords: keywords.map(Bound::unbind) };
    PyJob::new(py, Label::Call(function), Work::Call(task))
}

/// Closes the pool: idle workers end, waiting calls are called off, running ones have `grace`.
/// Returns what still runs then: `(function, thread, seconds)`.
pub(crate) fn close(py: Python<'_>, grace: Duration) -> Vec<(String, String, f64)> {
    for order in POOL.close() {
        let error = Error::new(Kind::Closed, "the interpreter is exiting");
        order.send(Err(Box::new(error)));
    }
    if py.detach(|| POOL.wait_until_empty(grace)) {
        return Vec::new();
    }
    let desks: Vec<_> = lock(&DESKS).iter().filter_map(Weak::upgrade).collect();
    let stuck = desks.iter().filter_map(|desk| {
        let current = lock(&desk.current);
        let current = current.as_ref()?;
        Some((current.task.call.clone_ref(py), desk.number, current.since.elapsed()))
    });
    let stuck: Vec<_> = stuck.collect();
    let named = stuck.into_iter().map(|(call, number, ran)| {
        let function = call.bind(py).get_item(0);
        let name = function.map_or_else(|_| "call".to_owned(), |it| qualified_name(&it));
        (name, format!("offloop-io-{number}"), ran.as_secs_f64())
    });
    named.collect()
}

/// Whether worker threads exist: a forked child would miss them.
pub(crate) fn has_workers() -> bool {
    THREADS_EXIST.load(Ordering::Relaxed)
}
