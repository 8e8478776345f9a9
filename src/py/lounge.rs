//! Where operations wait for each other before they depart, so that a burst of starts wakes the
//! runtime once and not a thousand times.
//!
//! The first start of a loop's turn goes off alone and at once. Those that follow leave together:
//! when the turn of completions they were started in ends, when a full batch is there, or from
//! one `call_soon`. Touched by the loop's thread alone, with the GIL held.

use std::sync::{Arc, Mutex, Weak};

use offloop_core::bridge::Carry;
use offloop_core::error::Error;
use offloop_core::runtime;
use pyo3::intern;
use pyo3::prelude::*;

use crate::convert::lock;
use crate::doorbell::LoopBell;
use crate::errors;
use crate::event_loop::{Bridge, Parcel};
use crate::outcome::Outcome;

/// So many operations leave together. A start that wakes the runtime alone costs two thread
/// switches on a busy core (gather of 1,000: 236,000/s against 433,000/s); 32 is arbitrary.
const BATCH: usize = 32;

/// One operation that has not been handed to the runtime yet.
pub(crate) type Departure = Carry<Outcome, Parcel, LoopBell>;

/// The waiting operations of one loop.
#[derive(Default)]
pub(crate) struct Lounge {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Departure>,
    /// One has left alone since the last `send_off`: the next ones wait for each other.
    busy: bool,
    /// A turn of completions is under way, and will end with `send_off`.
    in_turn: bool,
    /// Made once, for `call_soon`.
    call: Option<Py<PySendOff>>,
    /// `call` is scheduled. Cleared by `send_off`.
    scheduled: bool,
}

impl Lounge {
    /// Hands an operation to the runtime: at once if it is alone, else with its companions.
    pub(crate) fn depart(
        &self,
        bridge: &Arc<Bridge>,
        departure: Departure,
        py: Python<'_>,
    ) -> PyResult<()> {
        let mut state = lock(&self.state);
        if !state.busy && !state.in_turn {
            state.busy = true;
            drop(state);
            return raise(py, runtime::spawn(departure).map(drop));
        }
        state.waiting.push(departure);
        if state.waiting.len() >= BATCH {
            let batch = std::mem::take(&mut state.waiting);
            drop(state);
            return raise(py, runtime::spawn_each(batch));
        }
        if state.in_turn || std::mem::replace(&mut state.scheduled, true) {
            return Ok(());
        }
        drop(state);
        let call = self.call(bridge, py)?;
        match bridge.event_loop(py) {
            Some(event_loop) => {
                event_loop.call_method1(intern!(py, "call_soon"), (call,)).map(drop)
            }
            None => Ok(()),
        }
    }

    fn call(&self, bridge: &Arc<Bridge>, py: Python<'_>) -> PyResult<Py<PySendOff>> {
        if let Some(call) = &lock(&self.state).call {
            return Ok(call.clone_ref(py));
        }
        let call = Py::new(py, PySendOff { bridge: Arc::downgrade(bridge) })?;
        lock(&self.state).call = Some(call.clone_ref(py));
        Ok(call)
    }

    /// A turn begins: what is started in it waits for its end.
    pub(crate) fn begin_turn(&self) {
        lock(&self.state).in_turn = true;
    }

    /// Hands all waiting operations to the runtime.
    pub(crate) fn send_off(&self) {
        let mut state = lock(&self.state);
        state.busy = false;
        state.in_turn = false;
        state.scheduled = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        if !waiting.is_empty() {
            // The runtime was started before they came here: it cannot refuse.
            let _ = runtime::spawn_each(waiting);
        }
    }

    /// Gives everything up; the caller drops it where no lock is held.
    pub(crate) fn close(&self) -> impl Sized + use<> {
        std::mem::take(&mut *lock(&self.state))
    }
}

/// `Lounge::send_off`, for `call_soon`.
#[pyclass(name = "SendOff", module = "offloop._offloop", frozen)]
pub(crate) struct PySendOff {
    bridge: Weak<Bridge>,
}

#[pymethods]
impl PySendOff {
    fn __call__(&self) {
        if let Some(bridge) = self.bridge.upgrade() {
            bridge.lounge.send_off();
        }
    }
}

fn raise(py: Python<'_>, sent: Result<(), Error>) -> PyResult<()> {
    sent.map_err(|error| errors::exception(py, error))
}
