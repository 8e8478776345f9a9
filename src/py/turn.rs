//! One turn of an event loop: what the Python function `offloop._bridge.drain` iterates over.
//!
//! The callbacks run from Python and not from here, so that no Rust frame lies below user code:
//! CPython up to 3.13 ends daemon threads at exit by unwinding their stack, which Rust frames
//! answer with an abort. Runs on the loop's thread, with the GIL.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use offloop_core::runtime;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::lock;
use crate::event_loop::{Bridge, JobDoor, call_soon};

/// What one turn of the loop may spend on callbacks before others get theirs. Measured with 512
/// fetches in flight beside a thread that computes: 1 ms keeps the loop's lag below 10 ms (p99),
/// 2 ms and more does not, and none of them costs throughput.
const TURN: Duration = Duration::from_millis(1);

/// The callbacks that are due, one after the other: what `drain` iterates over. Each iteration
/// is one turn: it begins with everything that has rung, and ends when all is done or time is up.
#[pyclass(name = "Ready", module = "offloop._offloop", frozen, weakref)]
pub(crate) struct PyReady {
    bridge: Arc<Bridge>,
    /// When the turn began, and whether asyncio's debug mode wants callbacks for itself.
    turn: Mutex<Option<(Instant, bool)>>,
}

impl PyReady {
    pub(crate) fn new(bridge: Arc<Bridge>) -> Self {
        Self { bridge, turn: Mutex::default() }
    }
}

#[pymethods]
impl PyReady {
    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        let bridge = &this.bridge;
        if runtime::check_alive().is_err() {
            return Ok(slf.clone()); // a forked child: the bell is its parent's, too
        }
        bridge.beats.answer();
        bridge.spare.refill();
        bridge.door.queue.doorbell().silence();
        bridge.door.queue.drain(&mut lock(&bridge.inbox));
        let debug = match bridge.event_loop(py) {
            Some(event_loop) => event_loop.call_method0(intern!(py, "get_debug"))?.is_truthy()?,
            None => false,
        };
        *lock(&this.turn) = Some((Instant::now(), debug));
        bridge.lounge.begin_turn();
        Ok(slf.clone())
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some((began, debug)) = *lock(&self.turn) else {
            return Ok(None);
        };
        if began.elapsed() > TURN {
            self.ring();
            return Ok(None);
        }
        while let Some(call) = self.bridge.next_call(py) {
            if !debug {
                let context = call.variables.into_context(py)?;
                return (context, call.callback, call.job).into_pyobject(py).map(Some);
            }
            // asyncio names slow callbacks itself, if it is the one who calls them.
            if let Some(event_loop) = self.bridge.event_loop(py) {
                call_soon(&event_loop, call)?;
            }
        }
        self.bridge.lounge.send_off();
        Ok(None)
    }

    /// Ends the turn before all is done, and asks the loop for one more.
    fn ring(&self) {
        let more = !lock(&self.bridge.inbox).is_empty() || !lock(&self.bridge.ready).is_empty();
        if more {
            self.bridge.door.queue.ring();
        }
        self.bridge.lounge.send_off();
    }

    /// The loop, or None when it is gone.
    fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.bridge.event_loop(py)
    }
}

impl Drop for PyReady {
    fn drop(&mut self) {
        self.bridge.close();
    }
}

/// Waits, without the GIL, for rings on behalf of a loop that has no readers.
#[pyclass(name = "Ringer", module = "offloop._offloop", frozen)]
pub(crate) struct PyRinger {
    door: Arc<JobDoor>,
}

impl PyRinger {
    pub(crate) fn new(door: Arc<JobDoor>) -> Self {
        Self { door }
    }
}

#[pymethods]
impl PyRinger {
    /// From now on rings go to a thread that calls `wait`.
    fn take_over(&self) {
        self.door.queue.doorbell().ring_by_thread();
    }

    /// Sleeps until the bell rings (True), or half a second: time to see whether the loop, which
    /// has no reader to tell of its end, has closed.
    fn wait(&self, py: Python<'_>) -> bool {
        let ringer = self.door.queue.doorbell().ring_by_thread();
        py.detach(|| ringer.wait(Duration::from_millis(500)))
    }
}
