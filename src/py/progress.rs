//! How a Job gets from one phase to the next: new, under way, over. `job` shows it to Python.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use offloop_core::bridge::{Carry, Operation, Stage, Ticket};
use offloop_core::error::Error;
use offloop_core::runtime;
use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::convert::{Imported, lock};
use crate::errors;
use crate::event_loop::{self, Bridge, Call, JobTicket, Parcel};
use crate::farewell;
use crate::job::PyJob;
use crate::label::Label;
use crate::offload::Task;
use crate::outcome::Outcome;
use crate::settled::{Seen, Settled, as_raised};

/// What a Job knows of itself; changed by the loop's thread alone.
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) callbacks: Vec<Callback>,
    pub(crate) cancel_message: Option<Py<PyAny>>,
    /// Cancelled while its function runs: settles as cancelled when the function has ended.
    pub(crate) cancelling: bool,
}

/// Where a Job stands.
pub(crate) enum Phase {
    /// Nothing has happened yet.
    New(Work),
    /// Between two phases, on this thread.
    Changing,
    /// Under way for the loop of `bridge`.
    Pending(Pending),
    /// Over. The bridge is that of the loop it ran for, if it was ever started.
    Over(Settled, Option<Arc<Bridge>>),
}

/// A Job under way.
pub(crate) struct Pending {
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) ticket: Arc<JobTicket>,
    pub(crate) slot: usize,
    pub(crate) since: Instant,
    /// A call in a thread: it cannot be stopped once it runs.
    pub(crate) is_call: bool,
}

/// What a Job does when it is started.
pub(crate) enum Work {
    /// A future for the tokio runtime.
    Operation(Operation<Outcome>),
    /// A Python function for a worker.
    Call(Task),
}

/// A callback and the context it is to run in.
pub(crate) struct Callback {
    pub(crate) callback: Py<PyAny>,
    pub(crate) context: Py<PyAny>,
}

impl Callback {
    pub(crate) fn call(self, job: Py<PyJob>) -> Call {
        Call { context: self.context, callback: self.callback, job }
    }
}

impl PyJob {
    pub(crate) fn new(py: Python<'_>, label: Label, work: Work) -> PyResult<Self> {
        let made_at = if farewell::is_debug(py)? { Some(farewell::caller(py)?) } else { None };
        let state = State {
            phase: Phase::New(work),
            callbacks: Vec::new(),
            cancel_message: None,
            cancelling: false,
        };
        Ok(Self { label, made_at, blocking: AtomicBool::new(false), state: Mutex::new(state) })
    }

    /// Starts the work if it has not been; fails only where no loop runs. A start that fails
    /// otherwise settles the Job with the reason.
    pub(crate) fn ensure_started(job: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (job.py(), job.get());
        let state = lock(&this.state);
        let (new, pending) =
            (matches!(state.phase, Phase::New(_)), matches!(state.phase, Phase::Pending(_)));
        drop(state);
        if pending && let Err(error) = runtime::check_alive() {
            return Self::settle_orphan(job, &error);
        }
        if !new {
            return Ok(());
        }
        match event_loop::current(py)? {
            Some(bridge) => {
                this.launch(py, bridge);
                Ok(())
            }
            None => Err(PyRuntimeError::new_err("no running event loop")),
        }
    }

    /// A Job that was under way when the process was forked: the child has nobody to finish it.
    fn settle_orphan(job: &Bound<'_, Self>, error: &Error) -> PyResult<()> {
        let py = job.py();
        let bridge = job.get().bridge();
        let settled = Settled::raised(py, &errors::exception(py, error));
        Self::call_back(job, job.get().set_settled(settled), bridge.as_deref())
    }

    pub(crate) fn launch(&self, py: Python<'_>, bridge: Arc<Bridge>) {
        let mut state = lock(&self.state);
        let work = match std::mem::replace(&mut state.phase, Phase::Changing) {
            Phase::New(work) => work,
            other => {
                state.phase = other;
                return;
            }
        };
        drop(state);
        let is_call = matches!(work, Work::Call(_));
        let ticket = Arc::new(if is_call { Ticket::queued() } else { Ticket::running() });
        let slot = bridge.board(&ticket);
        let parcel = Parcel::new(slot, Arc::clone(&ticket));
        let launched = match work {
            Work::Operation(operation) => take_off(py, &bridge, operation, parcel),
            Work::Call(task) => {
                task.submit(py, &bridge, parcel).map_err(|error| errors::exception(py, &error))
            }
        };
        let phase = match launched {
            Ok(()) => {
                Phase::Pending(Pending { bridge, ticket, slot, since: Instant::now(), is_call })
            }
            Err(error) => {
                bridge.call_off(slot);
                Phase::Over(Settled::raised(py, &error), Some(bridge))
            }
        };
        lock(&self.state).phase = phase;
    }

    /// The loop's thread hands over the outcome; returns the callbacks that are due.
    pub(crate) fn settle(
        job: &Bound<'_, Self>,
        outcome: Result<Outcome, Box<Error>>,
    ) -> Vec<Callback> {
        let (py, this) = (job.py(), job.get());
        let settled = Settled::from_outcome(py, outcome);
        this.set_settled(settled)
    }

    pub(crate) fn set_settled(&self, settled: Settled) -> Vec<Callback> {
        let mut state = lock(&self.state);
        let settled = if state.cancelling { settled.into_cancelled() } else { settled };
        let before = std::mem::replace(&mut state.phase, Phase::Changing);
        let bridge = match before {
            Phase::Pending(pending) => Some(pending.bridge),
            _ => None,
        };
        state.phase = Phase::Over(settled, bridge);
        std::mem::take(&mut state.callbacks)
    }

    /// Fetches an outcome that came home while nobody was waiting.
    pub(crate) fn catch_up(&self, py: Python<'_>) {
        let left = match &lock(&self.state).phase {
            Phase::Pending(pending) => pending.ticket.collect(),
            _ => None,
        };
        if let Some(outcome) = left {
            let none_due = self.set_settled(Settled::from_outcome(py, outcome));
            drop(none_due);
        }
    }

    /// Looks at what has become of the Job; `None` while it is not over.
    pub(crate) fn look<R>(
        &self,
        py: Python<'_>,
        look: impl FnOnce(&mut Settled) -> R,
    ) -> Option<R> {
        let mut state = lock(&self.state);
        if matches!(state.phase, Phase::Pending(_)) {
            drop(state);
            self.catch_up(py);
            state = lock(&self.state);
        }
        match &mut state.phase {
            Phase::Over(settled, _) => Some(look(settled)),
            _ => None,
        }
    }

    pub(crate) fn stage(&self, py: Python<'_>) -> &'static str {
        self.catch_up(py);
        match &lock(&self.state).phase {
            Phase::New(_) => "new",
            Phase::Changing => "running",
            Phase::Pending(pending) => match pending.ticket.stage() {
                Stage::Queued => "queued",
                _ => "running",
            },
            Phase::Over(Settled::Cancelled { .. }, _) => "cancelled",
            Phase::Over(..) => "done",
        }
    }

    pub(crate) fn cancelled_error(
        &self,
        py: Python<'_>,
        lost: Option<Py<PyBaseException>>,
    ) -> PyResult<PyErr> {
        static CANCELLED: Imported = Imported::new("asyncio", "CancelledError");
        let message = lock(&self.state).cancel_message.as_ref().map(|text| text.clone_ref(py));
        let class = CANCELLED.load(py)?;
        let value = match message {
            Some(message) => class.call1((message,))?,
            None => class.call0()?,
        };
        if let Some(lost) = lost {
            value.setattr(intern!(py, "__context__"), lost)?;
        }
        Ok(PyErr::from_value(value))
    }

    /// The result, or the exception to raise; `None` while the Job is not over.
    pub(crate) fn outcome(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        Some(match self.look(py, |settled| settled.read(py))? {
            Seen::Value(value) => Ok(value),
            Seen::Raised { error, traceback } => Err(as_raised(py, error, traceback)),
            Seen::Cancelled { lost } => {
                Err(self.cancelled_error(py, lost).unwrap_or_else(|error| error))
            }
        })
    }

    pub(crate) fn invalid_state<T>(py: Python<'_>, text: &'static str) -> PyResult<T> {
        static INVALID: Imported = Imported::new("asyncio", "InvalidStateError");
        Err(PyErr::from_value(INVALID.load(py)?.call1((text,))?))
    }

    /// Settles the Job as cancelled and has the loop run the callbacks.
    pub(crate) fn settle_cancelled(job: &Bound<'_, Self>, bridge: Option<&Bridge>) -> PyResult<()> {
        let callbacks = job.get().set_settled(Settled::cancelled());
        Self::call_back(job, callbacks, bridge)
    }

    /// Has the loop run callbacks that are due.
    fn call_back(
        job: &Bound<'_, Self>,
        callbacks: Vec<Callback>,
        bridge: Option<&Bridge>,
    ) -> PyResult<()> {
        let event_loop = bridge.and_then(|bridge| bridge.event_loop(job.py()));
        if let Some(event_loop) = event_loop {
            for due in callbacks {
                event_loop::call_soon(&event_loop, due.call(job.clone().unbind()))?;
            }
        }
        Ok(())
    }

    pub(crate) fn bridge(&self) -> Option<Arc<Bridge>> {
        match &lock(&self.state).phase {
            Phase::Pending(pending) => Some(Arc::clone(&pending.bridge)),
            Phase::Over(_, bridge) => bridge.clone(),
            _ => None,
        }
    }
}

/// Sends an operation off to the runtime.
fn take_off(
    py: Python<'_>,
    bridge: &Arc<Bridge>,
    operation: Operation<Outcome>,
    parcel: Parcel,
) -> PyResult<()> {
    runtime::start().map_err(|error| errors::exception(py, &error))?;
    let (ticket, door) = (Arc::clone(&parcel.ticket), Arc::clone(&bridge.door));
    bridge.lounge.depart(bridge, Carry::new(operation, ticket, door, parcel), py)
}
