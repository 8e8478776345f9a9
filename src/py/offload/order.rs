//! A call on its way through the queue of a pool, and where its outcome goes.

use std::sync::Arc;
use std::time::Instant;

use offloop_core::bridge::{Bell, Stage};
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::Response;
use offloop_core::offload::{Call, Ended, Entered, Waiting};
use offloop_core::runtime;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTraceback, PyTuple};

use super::looks;
use super::outside::Outside;
use super::terms::Terms;
use super::waits;
use crate::convert::{Imported, Variables};
use crate::doorbell::LoopBell;
use crate::errors;
use crate::event_loop::{Bridge, JobTicket, Parcel};
use crate::outcome::Outcome;
use crate::progress::Manner;

/// `function(*args, **kwargs)`, not yet started.
pub(crate) struct Task {
    pub(crate) terms: Arc<Terms>,
    pub(crate) target: Target,
    pub(crate) keywords: Option<Py<PyDict>>,
}

/// What is to be called. Without arguments no tuple is kept: as with [`Variables`].
#[derive(Debug)]
pub(crate) enum Target {
    Function(Py<PyAny>),
    /// The function and its arguments.
    Call(Py<PyTuple>),
}

impl Target {
    /// From `(function, *args)`, and the function.
    pub(crate) fn new(call: Bound<'_, PyTuple>, function: &Bound<'_, PyAny>) -> Self {
        if call.len() == 1 {
            Self::Function(function.clone().unbind())
        } else {
            Self::Call(call.unbind())
        }
    }

    /// `(function, *args)`.
    pub(crate) fn call(&self, py: Python<'_>) -> PyResult<Py<PyTuple>> {
        match self {
            Self::Function(function) => PyTuple::new(py, [function]).map(Bound::unbind),
            Self::Call(call) => Ok(call.clone_ref(py)),
        }
    }

    pub(crate) fn function(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Function(function) => Ok(function.clone_ref(py)),
            Self::Call(call) => call.bind(py).get_item(0).map(Bound::unbind),
        }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Something for a worker to do, and where its outcome goes.
pub(crate) struct Order {
    pub(crate) kind: OrderKind,
    pub(crate) home: Home,
}

pub(crate) enum OrderKind {
    /// With these variables.
    Call(Task, Variables),
    /// Makes `bytes` of a large body.
    CopyBody(Box<Response>, Arc<Terms>),
}

/// Where an outcome goes.
pub(crate) enum Home {
    /// To a Job.
    Loop { parcel: Parcel, bridge: Arc<Bridge>, outside: Option<Arc<Outside>> },
    /// To a `concurrent.futures.Future`.
    Future { future: Py<PyAny>, ticket: Arc<JobTicket> },
}

impl Home {
    pub(crate) fn ticket(&self) -> &Arc<JobTicket> {
        match self {
            Self::Loop { parcel, .. } => &parcel.ticket,
            Self::Future { ticket, .. } => ticket,
        }
    }
}

impl Call for Order {
    fn is_wanted(&self) -> bool {
        !matches!(self.home.ticket().stage(), Stage::Done | Stage::Cancelled)
    }
}

impl Task {
    /// Queues the call, in a copy of the present context.
    pub(crate) fn submit(
        self,
        py: Python<'_>,
        bridge: &Arc<Bridge>,
        parcel: Parcel,
        now: Instant,
    ) -> PyResult<Manner> {
        runtime::check_alive().map_err(|error| errors::exception(py, error))?;
        waits::check(py, &self.terms, &parcel.ticket)?;
        let terms = Arc::clone(&self.terms);
        let outside = terms.pool.place().map(|place| Arc::new(Outside::new(py, place)));
        let home = Home::Loop { parcel, bridge: Arc::clone(bridge), outside: outside.clone() };
        let order = Order { kind: OrderKind::Call(self, Variables::copy(py)?), home };
        put(py, order, now).map_err(|(_, error)| errors::exception(py, error))?;
        if outside.is_none() {
            looks::begin(py, bridge)?;
        } else {
            terms.pool.call_for_turns(py, bridge)?;
        }
        if waits::any_failed() {
            // Futures whose callbacks may be the user's: Python has to call them.
            static SETTLE: Imported = Imported::new("offloop.pools.thread", "settle_failed");
            if let Some(event_loop) = bridge.event_loop(py) {
                event_loop.call_method1(intern!(py, "call_soon"), (SETTLE.load(py)?,))?;
            }
        }
        Ok(match outside {
            Some(outside) => Manner::Outside(terms, outside),
            None => Manner::Call(terms),
        })
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.target {
            Target::Function(function) => visit.call(function)?,
            Target::Call(call) => visit.call(call)?,
        }
        self.keywords.as_ref().map_or(Ok(()), |keywords| visit.call(keywords))
    }
}

/// Brings an order to its gate, if it has one, and to the queue of its pool.
#[expect(clippy::result_large_err, reason = "the order comes back, to be kept")]
pub(crate) fn put(py: Python<'_>, order: Order, since: Instant) -> Result<(), (Order, Error)> {
    let terms = order.terms();
    let (pool, priority) = (&terms.pool, terms.priority);
    let mut waiting = Waiting { call: order, since };
    if let Some(gate) = &terms.gate {
        waiting = match gate.enter(waiting, priority) {
            Entered::Inside(waiting) => waiting,
            Entered::Waits(swept) => {
                release(swept);
                return Ok(());
            }
            Entered::Refused(order, error) => return Err((order, error)),
        };
    }
    match pool.calls.submit(waiting, priority) {
        Ok((submitted, swept)) => {
            release(swept);
            pool.hire_if(py, submitted);
            Ok(())
        }
        Err(refused) => {
            leave_gate(py, &terms);
            Err((refused.call, refused.error))
        }
    }
}

/// A call of `terms` has ended: the next one may come through their gate.
pub(crate) fn leave_gate(py: Python<'_>, terms: &Arc<Terms>) {
    let Some(gate) = &terms.gate else {
        return;
    };
    let (mut next, unwanted) = gate.leave();
    release(unwanted);
    while let Some(waiting) = next.take() {
        match terms.pool.calls.readmit(waiting, terms.priority) {
            Ok(submitted) => terms.pool.hire_if(py, submitted),
            Err(refused) => {
                refused.call.fail(py, refused.error);
                let (another, unwanted) = gate.leave();
                release(unwanted);
                next = another;
            }
        }
    }
}

/// Sends home what nobody wants, for the loop's thread to release.
pub(crate) fn release(orders: Vec<Order>) {
    for order in orders {
        order.send_back();
    }
}

impl Order {
    pub(crate) fn terms(&self) -> Arc<Terms> {
        match &self.kind {
            OrderKind::Call(task, _) => Arc::clone(&task.terms),
            OrderKind::CopyBody(_, terms) => Arc::clone(terms),
        }
    }

    /// Sends the objects of a call that never ran home.
    pub(crate) fn send_back(self) {
        if let Home::Loop { mut parcel, bridge, .. } = self.home {
            parcel.remains = Some(Box::new(self.kind));
            drop(bridge.door.queue.push(parcel));
        }
    }

    /// Sends an error home; dropped where the loop has closed.
    pub(crate) fn fail(self, py: Python<'_>, error: Error) {
        match self.home {
            Home::Loop { mut parcel, bridge, .. } => {
                if let Err(unwanted) = parcel.ticket.complete(Err(Box::new(error))) {
                    drop(unwanted);
                }
                parcel.remains = Some(Box::new(self.kind));
                drop(bridge.door.queue.push(parcel));
            }
            Home::Future { future, .. } => {
                let exception = errors::exception(py, error);
                waits::fail_future(future, exception);
            }
        }
    }
}

/// A call that has ended, between its end and its way home.
pub(crate) struct Finished {
    parcel: Parcel,
    bridge: Arc<Bridge>,
}

/// Stores the outcome of a call; tells how it ended for its awaiter, None when that has been
/// counted before. What nobody wants goes home all the same, to be released there.
pub(crate) fn finish(
    mut parcel: Parcel,
    bridge: Arc<Bridge>,
    outcome: Result<Outcome, Box<Error>>,
    good: bool,
) -> (Finished, Option<Ended>) {
    let asked = parcel.ticket.is_asked_to_stop();
    let ended = match parcel.ticket.complete(outcome) {
        Ok(()) if asked => Some(Ended::Cancelled),
        Ok(()) if good => Some(Ended::Done),
        Ok(()) => Some(Ended::Failed),
        Err(unwanted) => {
            parcel.remains = Some(Box::new(unwanted));
            None
        }
    };
    (Finished { parcel, bridge }, ended)
}

impl Finished {
    /// Sends the outcome home; gives the bell to ring, if it is this one's turn.
    pub(crate) fn send(self) -> Option<Bell<LoopBell>> {
        self.bridge.door.queue.push(self.parcel).ok()?
    }
}

/// What a function raised, as its awaiter gets it.
pub(crate) fn as_raised(
    py: Python<'_>,
    error: Bound<'_, PyAny>,
    traceback: Option<Bound<'_, PyTraceback>>,
) -> PyErr {
    let raised = if error.is_instance_of::<PyStopIteration>() {
        // A StopIteration would end the awaiting coroutine instead of being raised in it.
        let wrapped = PyRuntimeError::new_err("the offloaded function raised StopIteration");
        wrapped.set_cause(py, Some(PyErr::from_value(error)));
        wrapped
    } else {
        PyErr::from_value(error)
    };
    raised.set_traceback(py, traceback);
    raised
}

/// What a call was left with that never got a result.
pub(crate) fn lost() -> Error {
    Error::new(Kind::Internal, "the call was left without a result")
}
