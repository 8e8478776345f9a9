//! Calls that are run outside of this process's threads: in another process, in another
//! interpreter, by any executor.
//!
//! When the turn of such a call has come, the loop (or whoever ended the call before it) calls a
//! Python function with a [`PyPromise`]. Whoever runs the call tells the promise what became of
//! it, from any real Python thread; the outcome goes home like every other, by ticket, queue and
//! bell. No Rust frame lies below that function: it pickles, which is users' code.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use offloop_core::bridge::Stage;
use offloop_core::error::Error;
use offloop_core::runtime;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTraceback, PyWeakrefMethods, PyWeakrefReference};

use super::OnCancel;
use super::order::{as_raised, lost};
use super::state::PlaceHooks;
use crate::convert::{Imported, lock};
use crate::event_loop::{Bridge, JobTicket, Parcel};
use crate::fetch::PyRequest;
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::{Manner, Work};

/// Something that Python does for a Job, outside of any pool: how it starts and stops.
pub(crate) struct Errand {
    /// `starter(promise)` begins the work.
    starter: Py<PyAny>,
    /// `canceller(promise, reason)` is told that nobody waits any longer.
    canceller: Option<Py<PyAny>>,
    on_cancel: OnCancel,
}

impl Errand {
    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.starter)?;
        self.canceller.as_ref().map_or(Ok(()), |canceller| visit.call(canceller))
    }

    /// Has the loop call the starter.
    pub(crate) fn start(
        self,
        py: Python<'_>,
        bridge: &Arc<Bridge>,
        parcel: Parcel,
    ) -> PyResult<Manner> {
        static START: Imported = Imported::new("offloop._bridge", "start_outside");
        runtime::check_alive().map_err(|error| crate::errors::exception(py, error))?;
        let outside = Arc::new(Outside {
            begun: OnceLock::new(),
            canceller: self.canceller,
            promise: OnceLock::new(),
        });
        let name = self.on_cancel.name();
        let own = Arc::clone(&outside);
        let promise = PyPromise::made(py, own, parcel, Arc::clone(bridge), name)?;
        if let Some(event_loop) = bridge.event_loop(py) {
            let arguments = (START.load(py)?, self.starter, promise);
            event_loop.call_method1(intern!(py, "call_soon"), arguments)?;
        }
        Ok(Manner::Errand(outside, self.on_cancel))
    }
}

/// What a Job and its promise share.
pub(crate) struct Outside {
    /// Who runs the call, for people to read, and since when. Written once, by `begin`.
    begun: OnceLock<(String, Instant)>,
    /// `canceller(promise, reason)`.
    canceller: Option<Py<PyAny>>,
    /// Weak: a promise that its keeper loses has to be noticed. Written once, when the turn has
    /// come.
    promise: OnceLock<Py<PyWeakrefReference>>,
}

impl Outside {
    pub(crate) fn new(py: Python<'_>, place: &PlaceHooks) -> Self {
        let canceller = Some(place.cancel.clone_ref(py));
        Self { begun: OnceLock::new(), canceller, promise: OnceLock::new() }
    }

    /// Who runs it.
    pub(crate) fn place(&self) -> Option<&str> {
        self.begun.get().map(|(place, _)| place.as_str())
    }

    /// For how long it has run.
    pub(crate) fn ran(&self) -> Duration {
        self.begun.get().map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    /// Tells whoever runs the call that it is not wanted any longer, through the loop. A call
    /// whose turn has not come has nobody to be told.
    pub(crate) fn ask_to_stop(&self, py: Python<'_>, bridge: &Bridge, reason: &str) {
        let promise = self.promise.get().and_then(|promise| promise.bind(py).upgrade());
        if let (Some(promise), Some(canceller), Some(event_loop)) =
            (promise, &self.canceller, bridge.event_loop(py))
        {
            // From any thread: a Job may be dropped anywhere.
            let arguments = (canceller, promise, reason);
            let told = event_loop.call_method1(intern!(py, "call_soon_threadsafe"), arguments);
            drop(told); // it fails when the loop has closed, and then nobody is left to be told
        }
    }
}

/// The outcome of one call, in the hands of whoever runs it. May be used from any real thread.
///
/// A promise that is lost without an outcome fails its Job with InternalError.
#[pyclass(name = "Promise", module = "offloop._offloop", frozen, weakref)]
#[expect(clippy::doc_markdown, reason = "the text is Python's documentation")]
pub(crate) struct PyPromise {
    outside: Arc<Outside>,
    ticket: Arc<JobTicket>,
    on_cancel: &'static str,
    /// Taken by the first outcome.
    home: Mutex<Option<(Parcel, Arc<Bridge>)>>,
    /// The weak reference to the call that holds this promise.
    owner: Mutex<Option<Py<PyAny>>>,
}

#[pymethods]
impl PyPromise {
    /// The call begins, at a place like ``"process:8123"``. False when the Job was cancelled
    /// before: then it must not be run, and no outcome is wanted.
    fn begin(&self, place: String) -> bool {
        if self.ticket.begin(1) {
            let _ = self.outside.begun.set((place, Instant::now()));
            return true;
        }
        let unwanted = lock(&self.home).take();
        drop(unwanted);
        false
    }

    /// Sends the result home; False when nobody wants it any more.
    fn set_result(&self, value: Py<PyAny>) -> bool {
        self.finish(Ok(value))
    }

    /// Sends an exception home, with the traceback it is to show (by default its own); False
    /// when nobody wants it any more.
    #[pyo3(signature = (error, traceback=None, /))]
    fn set_exception(
        &self,
        py: Python<'_>,
        error: Bound<'_, PyAny>,
        traceback: Option<Bound<'_, PyTraceback>>,
    ) -> bool {
        let traceback = match traceback {
            Some(traceback) => Some(traceback),
            None => PyErr::from_value(error.clone()).traceback(py),
        };
        self.finish(Err(as_raised(py, error, traceback)))
    }

    /// Whether somebody has asked for the end of it: by a cancel, a timeout, or by closing the
    /// loop.
    fn cancelled(&self) -> bool {
        self.ticket.is_asked_to_stop()
            || matches!(self.ticket.stage(), Stage::Cancelled | Stage::Done)
    }

    /// ``"wait"``, ``"abandon"`` or ``"kill"``.
    #[getter]
    fn on_cancel(&self) -> &'static str {
        self.on_cancel
    }

    #[getter]
    fn owner(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.owner).as_ref().map(|owner| owner.clone_ref(py))
    }

    #[setter]
    fn set_owner(&self, owner: Py<PyAny>) {
        let before = lock(&self.owner).replace(owner);
        drop(before);
    }
}

impl PyPromise {
    /// The promise of a call whose turn has come.
    pub(crate) fn made<'py>(
        py: Python<'py>,
        outside: Arc<Outside>,
        parcel: Parcel,
        bridge: Arc<Bridge>,
        on_cancel: &'static str,
    ) -> PyResult<Bound<'py, Self>> {
        let ticket = Arc::clone(&parcel.ticket);
        let home = Mutex::new(Some((parcel, bridge)));
        let own = Arc::clone(&outside);
        let promise =
            Bound::new(py, Self { outside, ticket, on_cancel, home, owner: Mutex::default() })?;
        let _ = own.promise.set(PyWeakrefReference::new(&promise)?.unbind());
        Ok(promise)
    }

    fn finish(&self, result: PyResult<Py<PyAny>>) -> bool {
        let Some((parcel, bridge)) = lock(&self.home).take() else {
            return false;
        };
        send(parcel, &bridge, Ok(Outcome::Called(Box::new((result, None)))))
    }
}

/// Sends an outcome home, whether it is wanted or to be released there only.
fn send(mut parcel: Parcel, bridge: &Bridge, outcome: Result<Outcome, Box<Error>>) -> bool {
    let unwanted = parcel.ticket.complete(outcome).err();
    let wanted = unwanted.is_none();
    if let Some(unwanted) = unwanted {
        parcel.remains = Some(Box::new(unwanted));
    }
    drop(bridge.door.queue.push(parcel));
    wanted
}

impl Drop for PyPromise {
    fn drop(&mut self) {
        if let Some((parcel, bridge)) = lock(&self.home).take()
            && runtime::check_alive().is_ok()
        {
            send(parcel, &bridge, Err(Box::new(lost())));
        }
    }
}

/// A Job named after `function` whose work begins with `starter(promise)`, called by the loop.
/// With a Request in the function's place it is the Job of that request, whose response
/// ``async with`` closes.
///
/// `canceller(promise, reason)` is called by the loop when the Job is cancelled or dropped
/// (`reason` is ``"cancel"``) or has timed out (``"timeout"``). `on_cancel` says what a cancel
/// does to work that has begun: the await ends when the work has (``"wait"``), or at once
/// (``"abandon"``, ``"kill"``).
#[pyfunction]
#[pyo3(signature = (function, starter, canceller=None, *, on_cancel="wait"))]
pub(crate) fn promise(
    py: Python<'_>,
    function: Py<PyAny>,
    starter: Py<PyAny>,
    canceller: Option<Py<PyAny>>,
    on_cancel: &str,
) -> PyResult<PyJob> {
    let on_cancel = OnCancel::named(on_cancel).ok_or_else(|| {
        let text = format!("on_cancel must be 'wait', 'abandon' or 'kill', not {on_cancel:?}");
        PyValueError::new_err(text)
    })?;
    let errand = Errand { starter, canceller, on_cancel };
    let label = match function.bind(py).cast::<PyRequest>() {
        Ok(request) => request.get().label(),
        Err(_) => Label::Call(function),
    };
    PyJob::new(py, label, Work::Errand(errand))
}
