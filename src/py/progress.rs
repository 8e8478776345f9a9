//! How a Job gets from one phase to the next: new, under way, over. `job` shows it to Python.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use offloop_core::bridge::{Carry, Operation, Stage, Ticket};
use offloop_core::download::Stop;
use offloop_core::error::Error;
use offloop_core::fetch::{Client, Request};
use offloop_core::files::Halt;
use offloop_core::offload::Ended;
use offloop_core::runtime;
use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::convert::{Imported, Variables, lock};
use crate::errors;
use crate::event_loop::{self, Bridge, Call, JobTicket, Parcel};
use crate::farewell;
use crate::files::FileWork;
use crate::job::PyJob;
use crate::label::Label;
use crate::offload::{self, Errand, OnCancel, Outside, Task, Terms, Timer};
use crate::outcome::Outcome;
use crate::record;
use crate::settled::{Seen, Settled, as_raised};

/// What a Job knows of itself; changed by the loop's thread alone.
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// What offloop itself has called first. It is nobody who waits: it keeps no Job alive.
    pub(crate) first: Vec<Callback>,
    pub(crate) callbacks: Vec<Callback>,
    pub(crate) cancel_message: Option<Py<PyAny>>,
    /// Cancelled while its function runs: settles as cancelled when the function has ended.
    pub(crate) cancelling: bool,
    /// Feeds the body of a request from Python; the loop calls it once, when the Job starts.
    pub(crate) feeder: Option<Py<PyAny>>,
    /// Somebody waits for the end of it, so its flight keeps it alive.
    pub(crate) awaited: bool,
    /// Who ran it, once it is over.
    pub(crate) ran_by: Option<Ran>,
}

/// Who has run a Job: less than the terms of a pool, which would keep it open.
pub(crate) enum Ran {
    /// A worker thread: the pool's name and the worker's number.
    Thread(Arc<str>, u32),
    /// Somebody else.
    Elsewhere(Box<str>),
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Thread(pool, worker) => write!(f, "thread:{pool}-{worker}"),
            Self::Elsewhere(place) => f.write_str(place),
        }
    }
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
    pub(crate) manner: Manner,
    /// Watches its time; dropped, and so stopped, when the Job is over.
    pub(crate) timer: Option<Timer>,
}

/// How a Job that is under way can be stopped.
#[derive(Clone)]
pub(crate) enum Manner {
    /// A future of the runtime: dropped at once.
    Operation,
    /// A call in a thread: it cannot be stopped once it runs.
    Call(Arc<Terms>),
    /// A future of the runtime that is asked to stop, and is over when it has.
    Stoppable(Arc<Stop>),
    /// An operation on files: it ends at once until it changes something.
    File(Arc<Halt>),
    /// Something that Python does outside of any pool, and what a cancel does to it.
    Errand(Arc<Outside>, OnCancel),
    /// A call that is run elsewhere: whoever runs it can be told.
    Outside(Arc<Terms>, Arc<Outside>),
}

impl Manner {
    /// Begins to watch the time of a call.
    fn watch(
        &self,
        py: Python<'_>,
        bridge: &Bridge,
        slot: usize,
        ticket: &Arc<JobTicket>,
    ) -> PyResult<Option<Timer>> {
        match self {
            Self::Operation | Self::Stoppable(_) | Self::File(_) | Self::Errand(..) => Ok(None),
            Self::Call(terms) => offload::watch(py, terms, None, bridge, slot, ticket),
            Self::Outside(terms, outside) => {
                offload::watch(py, terms, Some(outside), bridge, slot, ticket)
            }
        }
    }

    fn terms(&self) -> Option<&Arc<Terms>> {
        match self {
            Self::Operation | Self::Stoppable(_) | Self::File(_) | Self::Errand(..) => None,
            Self::Call(terms) | Self::Outside(terms, _) => Some(terms),
        }
    }

    /// Who runs it; `None` while it waits, and for what the label knows.
    pub(crate) fn ran_by(&self, ticket: &JobTicket) -> Option<Ran> {
        match self {
            Self::Operation | Self::Stoppable(_) | Self::File(_) => None,
            Self::Call(terms) => match ticket.worker() {
                0 => None,
                worker => Some(Ran::Thread(Arc::clone(&terms.pool.name), worker)),
            },
            Self::Outside(_, outside) | Self::Errand(outside, _) => {
                outside.place().map(|place| Ran::Elsewhere(place.into()))
            }
        }
    }

    /// Tells whoever runs the call, if he can be told.
    pub(crate) fn ask_to_stop(&self, py: Python<'_>, bridge: &Bridge, reason: &str) {
        match self {
            Self::Operation | Self::Call(_) | Self::File(_) => {}
            Self::Stoppable(stop) => stop.ask(),
            Self::Outside(_, outside) | Self::Errand(outside, _) => {
                outside.ask_to_stop(py, bridge, reason);
            }
        }
    }
}

impl Pending {
    /// Cancels: true when the Job ends at once, false when its function is waited for.
    pub(crate) fn stop(&self) -> bool {
        let Some(terms) = self.manner.terms() else {
            return match &self.manner {
                Manner::File(halt) => self.ticket.cancel_queued() || halt.ask(),
                Manner::Errand(_, on_cancel) if !self.ticket.cancel_queued() => {
                    self.ticket.ask_to_stop();
                    *on_cancel != OnCancel::Wait
                }
                manner => !matches!(manner, Manner::Stoppable(_)),
            };
        };
        if self.ticket.cancel_queued() {
            terms.pool.calls.count(Ended::Cancelled);
            return true;
        }
        self.ticket.ask_to_stop();
        if terms.on_cancel == OnCancel::Wait {
            return false;
        }
        if self.ticket.stage() == Stage::Running && self.ticket.cancel() {
            terms.pool.calls.count(Ended::Abandoned);
        }
        true
    }
}

/// What a Job does when it is started.
pub(crate) enum Work {
    /// A future for the tokio runtime.
    Operation(Operation<Outcome>),
    /// A request whose whole body is wanted; boxed, because there are as many as there are fetches.
    Fetch(Box<(Client, Request)>),
    /// The same, with a way to ask it to stop.
    Stoppable(Operation<Outcome>, Arc<Stop>),
    /// A Python function for a worker.
    Call(Task),
    /// Something that Python does outside of any pool.
    Errand(Errand),
    /// An operation on files for a thread of theirs.
    File(FileWork),
}

/// A callback and the variables it is to see.
pub(crate) struct Callback {
    pub(crate) callback: Py<PyAny>,
    pub(crate) variables: Variables,
}

impl Callback {
    pub(crate) fn call(self, job: Py<PyJob>) -> Call {
        Call { variables: self.variables, callback: self.callback, job }
    }
}

impl PyJob {
    pub(crate) fn new(py: Python<'_>, label: Label, work: Work) -> PyResult<Self> {
        Self::at(py, label, Phase::New(work))
    }

    fn at(py: Python<'_>, label: Label, phase: Phase) -> PyResult<Self> {
        let made_at = if farewell::is_debug(py)? { Some(farewell::caller(py)?) } else { None };
        let state = State {
            phase,
            first: Vec::new(),
            callbacks: Vec::new(),
            cancel_message: None,
            cancelling: false,
            feeder: None,
            awaited: false,
            ran_by: None,
        };
        Ok(Self { label, made_at, blocking: AtomicBool::new(false), state: Mutex::new(state) })
    }

    /// A Job that is over from the start.
    pub(crate) fn over(py: Python<'_>, label: Label, value: Py<PyAny>) -> PyResult<Self> {
        Self::at(py, label, Phase::Over(Settled::Value(value), None))
    }

    /// Has the loop call `feeder` when the Job starts.
    pub(crate) fn feed_by(&mut self, feeder: Option<Py<PyAny>>) {
        lock(&self.state).feeder = feeder;
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
            return Self::settle_orphan(job, error);
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
    fn settle_orphan(job: &Bound<'_, Self>, error: Error) -> PyResult<()> {
        let py = job.py();
        let bridge = job.get().bridge();
        let settled = Settled::raised(py, &errors::exception(py, error));
        Self::call_back(job, job.get().set_settled(py, settled), bridge.as_deref())
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
        let operation = matches!(work, Work::Operation(_) | Work::Fetch(_) | Work::Stoppable(..));
        let ticket = Arc::new(if operation { Ticket::running() } else { Ticket::queued() });
        let since = Instant::now();
        let slot = bridge.board(&ticket);
        let parcel = Parcel::new(slot, Arc::clone(&ticket));
        let launched = match work {
            Work::Operation(operation) => {
                take_off(py, &bridge, operation, parcel).map(|()| Manner::Operation)
            }
            Work::Fetch(wanted) => {
                let (client, request) = *wanted;
                let rooms = Arc::clone(&bridge.rooms);
                let operation =
                    Box::pin(
                        async move { client.fetch(request, rooms).await.map(Outcome::Response) },
                    );
                take_off(py, &bridge, operation, parcel).map(|()| Manner::Operation)
            }
            Work::Stoppable(operation, stop) => {
                take_off(py, &bridge, operation, parcel).map(|()| Manner::Stoppable(stop))
            }
            Work::Call(task) => task.submit(py, &bridge, parcel, since),
            Work::Errand(errand) => errand.start(py, &bridge, parcel),
            Work::File(work) => work
                .submit(&bridge, parcel)
                .map(Manner::File)
                .map_err(|error| errors::exception(py, error)),
        };
        let feeder = lock(&self.state).feeder.take();
        let launched =
            launched.and_then(|manner| call_feeder(py, &bridge, feeder).map(|()| manner));
        let launched = launched.and_then(|manner| {
            let timer = manner.watch(py, &bridge, slot, &ticket)?;
            Ok((manner, timer))
        });
        let phase = match launched {
            Ok((manner, timer)) => {
                Phase::Pending(Pending { bridge, ticket, slot, since, manner, timer })
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
        this.set_settled(py, settled)
    }

    pub(crate) fn set_settled(&self, py: Python<'_>, settled: Settled) -> Vec<Callback> {
        let mut state = lock(&self.state);
        let settled = if state.cancelling { settled.into_cancelled() } else { settled };
        let end = settled.end();
        let before = std::mem::replace(&mut state.phase, Phase::Changing);
        let (bridge, rest) = match before {
            Phase::Pending(Pending { bridge, manner, timer, ticket, since, .. }) => {
                state.ran_by = manner.ran_by(&ticket);
                (Some(bridge), Some((manner, timer, ticket, since)))
            }
            _ => (None, None),
        };
        state.phase = Phase::Over(settled, bridge);
        let mut callbacks = std::mem::take(&mut state.callbacks);
        if !state.first.is_empty() {
            callbacks.splice(0..0, std::mem::take(&mut state.first));
        }
        drop(state);
        if let Some((manner, _, ticket, since)) = &rest {
            record::note(py, &self.label, manner, ticket, *since, end);
        }
        drop(rest); // the last terms of a pool close it
        callbacks
    }

    /// Fetches an outcome that came home while nobody was waiting.
    pub(crate) fn catch_up(&self, py: Python<'_>) {
        let left = match &lock(&self.state).phase {
            Phase::Pending(pending) => pending.ticket.collect(),
            _ => None,
        };
        if let Some(outcome) = left {
            let none_due = self.set_settled(py, Settled::from_outcome(py, outcome));
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
        let callbacks = job.get().set_settled(job.py(), Settled::cancelled());
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

/// Has the loop begin to feed the body of a request.
fn call_feeder(py: Python<'_>, bridge: &Bridge, feeder: Option<Py<PyAny>>) -> PyResult<()> {
    match (feeder, bridge.event_loop(py)) {
        (Some(feeder), Some(event_loop)) => {
            event_loop.call_method1(intern!(py, "call_soon"), (feeder,)).map(drop)
        }
        _ => Ok(()),
    }
}

/// Sends an operation off to the runtime.
fn take_off(
    py: Python<'_>,
    bridge: &Arc<Bridge>,
    operation: Operation<Outcome>,
    parcel: Parcel,
) -> PyResult<()> {
    runtime::start().map_err(|error| errors::exception(py, error))?;
    let (ticket, door) = (Arc::clone(&parcel.ticket), Arc::clone(&bridge.door));
    bridge.lounge.depart(bridge, Carry::new(operation, ticket, door, parcel), py)
}
