//! `Job`: the one awaitable. Future and coroutine in one class, so that `await`, `gather`,
//! `wait_for` and `TaskGroup` take it as it is, without a Task in between.
//!
//! All of this runs on the loop's thread (or, before a Job is started, on whichever thread made
//! it), with the GIL held. The state's lock is never held while Python code runs or an object is
//! released; it is there for builds without a GIL and costs nothing that could be measured.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use offloop_core::bridge::Operation;
use offloop_core::runtime;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{Imported, Variables, lock};
use crate::event_loop;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::{Callback, Manner, Phase, State, Work};
use crate::settled::{Seen, Settled};

/// One operation of offloop: lazy until it is awaited, handed to asyncio, or started.
#[pyclass(name = "Job", module = "offloop", frozen, weakref, generic)]
pub(crate) struct PyJob {
    pub(crate) label: Label,
    /// Where it was made; only in debug mode.
    pub(crate) made_at: Option<Box<str>>,
    /// asyncio's handshake: set when an awaiter is handed this Job, cleared by its Task.
    pub(crate) blocking: AtomicBool,
    pub(crate) state: Mutex<State>,
}

#[pymethods]
impl PyJob {
    fn __await__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    /// One step of `await`: the Job itself while it is not over, then its result.
    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        Self::ensure_started(slf)?;
        match this.outcome(py) {
            Some(Ok(value)) => Err(PyStopIteration::new_err((value,))),
            Some(Err(error)) => Err(error),
            None => {
                this.blocking.store(true, Ordering::Relaxed);
                Ok(slf.clone())
            }
        }
    }

    /// The coroutine protocol: as `__next__`.
    #[pyo3(signature = (value, /))]
    fn send<'py>(slf: &Bound<'py, Self>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let _ = value; // a future has nothing to receive
        Self::__next__(slf)
    }

    /// The coroutine protocol: raises in the awaiter that was thrown at. The operation goes on
    /// for its other awaiters.
    #[pyo3(signature = (exception, value=None, traceback=None, /))]
    fn throw(
        slf: &Bound<'_, Self>,
        exception: &Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let error = match value.filter(|value| !value.is_none()) {
            Some(value) if value.is_instance(exception).unwrap_or(false) => {
                PyErr::from_value(value)
            }
            Some(value) => PyErr::from_value(exception.call1((value,))?),
            None => PyErr::from_value(exception.clone()),
        };
        if let Some(traceback) = traceback.filter(|traceback| !traceback.is_none()) {
            let _ = error.value(exception.py()).setattr("__traceback__", traceback);
        }
        Self::close(slf)?; // as a coroutine that is thrown into before it began
        Err(error)
    }

    /// The coroutine protocol: gives a Job that was never started up, without a warning.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let new = matches!(lock(&slf.get().state).phase, Phase::New(_));
        if new { Self::settle_cancelled(slf, None) } else { Ok(()) }
    }

    /// `async with client.get(url) as response`: gives the response, and closes it at the end.
    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        if matches!(slf.get().label, Label::Request(..)) {
            return Ok(slf.clone());
        }
        let text = "only the Job of a request is an asynchronous context manager";
        Err(PyTypeError::new_err(text))
    }

    /// Closes the response.
    #[pyo3(signature = (*_exception))]
    fn __aexit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<Self> {
        if let Some(Ok(response)) = self.outcome(py) {
            response.call_method0(py, intern!(py, "close"))?;
        }
        Self::over(py, Label::Text("Job.__aexit__"), py.None())
    }

    /// Begins now and returns a future of asyncio's, for those who refuse coroutines.
    fn start<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static FOLLOW: Imported = Imported::new("offloop._bridge", "follow");
        let py = slf.py();
        Self::ensure_started(slf)?;
        FOLLOW.load(py)?.call1((slf,))
    }

    /// Requests cancellation; False when the Job is over already.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        this.catch_up(py);
        let mut state = lock(&this.state);
        let bridge = match &state.phase {
            Phase::Over(..) | Phase::Changing => return Ok(false),
            Phase::New(_) => None,
            Phase::Pending(pending) => {
                let at_once = pending.stop();
                Some((Arc::clone(&pending.bridge), pending.slot, pending.manner.clone(), at_once))
            }
        };
        // A function that runs and is waited for: the await ends when it has, as cancelled.
        let at_once = bridge.as_ref().is_none_or(|(.., at_once)| *at_once);
        state.cancelling |= !at_once;
        let previous = std::mem::replace(&mut state.cancel_message, msg);
        drop(state);
        drop(previous);
        if let Some((bridge, slot, manner, _)) = &bridge
            && runtime::check_alive().is_ok()
        {
            manner.ask_to_stop(py, bridge, "cancel");
            if at_once {
                bridge.call_off(*slot);
            }
        }
        if at_once {
            Self::settle_cancelled(slf, bridge.as_ref().map(|(bridge, ..)| bridge.as_ref()))?;
        }
        Ok(true)
    }

    /// Whether the Job has a result, an exception, or was cancelled.
    fn done(&self, py: Python<'_>) -> bool {
        self.look(py, |_| ()).is_some()
    }

    /// Whether the Job was cancelled.
    fn cancelled(&self, py: Python<'_>) -> bool {
        self.look(py, |settled| settled.is_cancelled()).unwrap_or(false)
    }

    /// The result; raises the Job's exception, or InvalidStateError while there is none.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.outcome(py) {
            Some(outcome) => outcome,
            None => Self::invalid_state(py, "Result is not set."),
        }
    }

    /// The exception or None; raises InvalidStateError while the Job is not over.
    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.look(py, |settled| settled.read(py)) {
            Some(Seen::Value(_)) => Ok(None),
            Some(Seen::Raised { error, .. }) => Ok(Some(error.into_any())),
            Some(Seen::Cancelled { lost }) => Err(self.cancelled_error(py, lost)?),
            None => Self::invalid_state(py, "Exception is not set."),
        }
    }

    /// Calls `callback(job)` from the loop when the Job is over, in `context` or a copy of the
    /// present one. Starts the Job.
    #[pyo3(signature = (callback, /, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        Self::ensure_started(slf)?;
        this.catch_up(py);
        let variables = match context {
            Some(context) => Variables::of(context),
            None => Variables::copy(py)?,
        };
        let due = Callback { callback, variables };
        let mut state = lock(&this.state);
        let landed = match &state.phase {
            Phase::Pending(pending) => {
                let keep = (!state.awaited).then(|| (Arc::clone(&pending.bridge), pending.slot));
                state.awaited = true;
                if keep.is_some() && state.callbacks.is_empty() {
                    state.callbacks = Vec::with_capacity(1); // a second one is rare
                }
                state.callbacks.push(due);
                drop(state);
                if let Some((bridge, slot)) = keep {
                    bridge.keep(slot, Some(slf.clone().unbind()));
                }
                return Ok(());
            }
            Phase::Over(_, bridge) => bridge.clone(),
            Phase::New(_) | Phase::Changing => None,
        };
        drop(state);
        let event_loop = match landed.and_then(|bridge| bridge.event_loop(py)) {
            Some(event_loop) => Some(event_loop),
            None => event_loop::running_loop(py)?,
        };
        match event_loop {
            Some(event_loop) => event_loop::call_soon(&event_loop, due.call(slf.clone().unbind())),
            None => Err(PyRuntimeError::new_err("no running event loop")),
        }
    }

    /// Removes all instances of `callback` and returns how many there were.
    fn remove_done_callback(&self, py: Python<'_>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let held = std::mem::take(&mut lock(&self.state).callbacks);
        let before = held.len();
        let mut kept = Vec::with_capacity(before);
        for due in held {
            if !due.callback.bind(py).eq(callback)? {
                kept.push(due);
            }
        }
        let removed = before - kept.len();
        let mut state = lock(&self.state);
        let added_meanwhile = std::mem::take(&mut state.callbacks);
        kept.extend(added_meanwhile);
        state.callbacks = kept;
        let abandoned = match &state.phase {
            Phase::Pending(pending) if state.callbacks.is_empty() => {
                let flight = (Arc::clone(&pending.bridge), pending.slot);
                state.awaited = false;
                Some(flight)
            }
            _ => None,
        };
        drop(state);
        if let Some((bridge, slot)) = abandoned {
            bridge.keep(slot, None);
        }
        Ok(removed)
    }

    /// Has `callback(job)` called before everybody else's, without starting the Job; it may
    /// put an error in the place of the result.
    fn _before_others(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let variables = Variables::copy(py)?;
        lock(&self.state).first.insert(0, Callback { callback, variables });
        Ok(())
    }

    /// Has the loop call `feeder()` when the Job starts.
    fn _feed_by(&self, feeder: Py<PyAny>) {
        let before = lock(&self.state).feeder.replace(feeder);
        drop(before);
    }

    /// Puts `error` in the place of the result of a Job that is over.
    fn _spoil(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        let settled = Settled::raised(py, &PyErr::from_value(error.clone()));
        let mut state = lock(&self.state);
        let before = match &mut state.phase {
            Phase::Over(before, _) => Some(std::mem::replace(before, settled)),
            _ => None,
        };
        drop(state);
        drop(before);
    }

    /// The loop the Job runs for; the running one while it has not been started.
    fn get_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let own = self.bridge().and_then(|bridge| bridge.event_loop(py));
        match own {
            Some(event_loop) => Ok(event_loop),
            None => event_loop::running_loop(py)?
                .ok_or_else(|| PyRuntimeError::new_err("no running event loop")),
        }
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get_loop(py)
    }

    /// asyncio asks this to learn whether it was given a future: with a loop running, that is
    /// where it is handed over, so the Job starts. Without one the answer is None, "no future",
    /// and `run_until_complete` takes it for the coroutine it also is.
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        if matches!(lock(&self.state).phase, Phase::New(_)) {
            match event_loop::current(py)? {
                Some(bridge) => self.launch(py, bridge),
                None => return Ok(None),
            }
        }
        Ok(Some(self.blocking.load(Ordering::Relaxed)))
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, value: bool) {
        self.blocking.store(value, Ordering::Relaxed);
    }

    /// asyncio's gather asks its children for this.
    fn _make_cancelled_error(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.cancelled_error(py, None)?.into_value(py).into_any())
    }

    #[getter]
    fn _cancel_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.state).cancel_message.as_ref().map(|message| message.clone_ref(py))
    }

    /// One of `"new" "queued" "running" "done" "cancelled"`.
    #[getter]
    fn state(&self, py: Python<'_>) -> &'static str {
        self.stage(py)
    }

    /// Who runs it: `"tokio"`, `"thread:io-3"`; None before it starts.
    #[getter]
    fn r#where(&self) -> Option<String> {
        let state = lock(&self.state);
        match &state.phase {
            Phase::Pending(pending) => match &pending.manner {
                Manner::Operation | Manner::Stoppable(_) => Some("tokio".to_owned()),
                Manner::File(_) => Some("thread:files".to_owned()),
                manner => manner.ran_by(&pending.ticket).map(|ran_by| ran_by.to_string()),
            },
            Phase::New(_) | Phase::Changing => None,
            Phase::Over(..) => match &state.ran_by {
                Some(ran_by) => Some(ran_by.to_string()),
                None => self.label.place().map(str::to_owned),
            },
        }
    }

    #[getter]
    fn __name__(&self, py: Python<'_>) -> String {
        self.label.text(py)
    }

    #[getter]
    fn __qualname__(&self, py: Python<'_>) -> String {
        self.label.text(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (text, stage) = (self.label.text(py), self.stage(py));
        let since = match &lock(&self.state).phase {
            Phase::Pending(pending) => Some(pending.since.elapsed()),
            _ => None,
        };
        let elapsed = since.map(|it: Duration| format!(" {:.2}s", it.as_secs_f64()));
        format!("<Job {text} {stage}{}>", elapsed.unwrap_or_default())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.label.traverse(visit)?;
        // Another thread changes the state right now: what it holds is in use.
        let Ok(state) = self.state.try_lock() else {
            return Ok(());
        };
        match &state.phase {
            Phase::New(Work::Call(task)) => task.traverse(visit)?,
            Phase::New(Work::Errand(errand)) => errand.traverse(visit)?,
            Phase::Over(settled, _) => settled.traverse(visit)?,
            Phase::New(
                Work::Operation(_) | Work::Fetch(_) | Work::Stoppable(..) | Work::File(_),
            )
            | Phase::Changing
            | Phase::Pending(_) => {}
        }
        for due in state.first.iter().chain(&state.callbacks) {
            visit.call(&due.callback)?;
            due.variables.traverse(&visit)?;
        }
        if let Some(feeder) = &state.feeder {
            visit.call(feeder)?;
        }
        state.cancel_message.as_ref().map_or(Ok(()), |message| visit.call(message))
    }

    fn __clear__(&self) {
        let mut state = lock(&self.state);
        let callbacks = (std::mem::take(&mut state.first), std::mem::take(&mut state.callbacks));
        let (message, feeder) = (state.cancel_message.take(), state.feeder.take());
        let phase = match &state.phase {
            Phase::New(Work::Call(_) | Work::Errand(_)) => {
                Some(std::mem::replace(&mut state.phase, Phase::Over(Settled::cancelled(), None)))
            }
            _ => None,
        };
        drop(state);
        drop((callbacks, message, feeder, phase));
    }
}

/// A Job that is over after `seconds`, by tokio's clock: the bridge and nothing else.
#[pyfunction]
#[pyo3(signature = (seconds=0.0))]
pub(crate) fn sleep(py: Python<'_>, seconds: f64) -> PyResult<PyJob> {
    let pause = Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let operation: Operation<Outcome> = Box::pin(async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(Outcome::Nothing)
    });
    PyJob::new(py, Label::Text("sleep"), Work::Operation(operation))
}
