//! Where completions come home: one [`Bridge`] for each asyncio or uvloop loop.
//!
//! Rust threads push into the bridge's door and ring; the loop's reader calls the Python
//! function `offloop._bridge.drain`, which asks [`PyReady`] for one callback after the other.
//! The callbacks run from Python and not from here, so that no Rust frame lies below user code:
//! CPython up to 3.13 ends daemon threads at exit by unwinding their stack, which Rust frames
//! answer with an abort.
//!
//! The loop itself is held weakly. Its reader owns the one `PyReady`; when the loop closes, the
//! reader is dropped, and with it everything that was still under way.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant};

use offloop_core::bridge::{Carry, Door, Ticket};
use offloop_core::error::Error;
use offloop_core::runtime;
use pyo3::exceptions::PyNotImplementedError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyWeakrefMethods, PyWeakrefReference};
use slab::Slab;

use crate::convert::{Imported, lock};
use crate::doorbell::{LoopBell, Ringer};
use crate::errors;
use crate::job::PyJob;
use crate::outcome::{Landing, Outcome};

/// What one turn of the loop may spend on callbacks before others get theirs. Measured with 512
/// fetches in flight beside a thread that computes: 1 ms keeps the loop's lag below 10 ms (p99),
/// 2 ms and more does not, and none of them costs throughput.
const TURN: Duration = Duration::from_millis(1);

/// A finished operation on its way through the door: which flight it was, and its outcome.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) slot: usize,
    pub(crate) ticket: Arc<JobTicket>,
}

/// One Job's state, shared with whoever runs it.
pub(crate) type JobTicket = Ticket<Result<Outcome, Box<Error>>>;
/// The door of one loop.
pub(crate) type JobDoor = Door<Parcel, LoopBell>;

/// One operation that has not been handed to the runtime yet.
pub(crate) type Departure = Carry<Outcome, Parcel, LoopBell>;

/// One started Job.
struct Flight {
    ticket: Arc<JobTicket>,
    /// Keeps an awaited Job alive: asyncio holds tasks weakly, and they hold the Job.
    job: Option<Py<PyJob>>,
}

/// One loop's side of everything that is under way for it.
pub(crate) struct Bridge {
    pub(crate) door: Arc<JobDoor>,
    event_loop: Py<PyWeakrefReference>,
    /// Address of the loop object: the key in `BRIDGES`, never dereferenced.
    address: usize,
    flights: Mutex<Slab<Flight>>,
    lounge: Mutex<Lounge>,
    /// Fetched from the door, not yet settled. Touched by the loop's thread alone.
    inbox: Mutex<VecDeque<Parcel>>,
    /// Settled, callbacks not yet run. Touched by the loop's thread alone.
    ready: Mutex<VecDeque<Call>>,
}

/// Where operations wait for each other, so that a burst of starts wakes the runtime once.
#[derive(Default)]
struct Lounge {
    departures: Vec<Departure>,
    /// An operation has been sent off alone since the loop's last turn: the next ones wait.
    /// Cleared by `send_off`.
    busy: bool,
    /// A turn is under way, and will end with `send_off`.
    in_turn: bool,
    /// What calls `send_off` otherwise: made once, scheduled with `call_soon`.
    call: Option<Py<PySendOff>>,
    scheduled: bool,
}

/// So many operations are sent off together. Measured: a start that wakes the runtime alone costs
/// two thread switches on a busy core, and beyond 32 there is nothing left to share.
const BATCH: usize = 32;

/// A callback that is due: the context it runs in, itself, and the Job it is about.
pub(crate) struct Call {
    pub(crate) context: Py<PyAny>,
    pub(crate) callback: Py<PyAny>,
    pub(crate) job: Py<PyJob>,
}

/// The bridges of all living loops, by the address of the loop.
static BRIDGES: LazyLock<Mutex<HashMap<usize, Arc<Bridge>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The bridge this thread used last: a thread rarely has a second loop.
    static LATEST: std::cell::RefCell<Option<Arc<Bridge>>> = const { std::cell::RefCell::new(None) };
}

/// The loop that runs in this thread, if any.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    static RUNNING: Imported = Imported::new("asyncio", "_get_running_loop");
    let running = RUNNING.load(py)?.call0()?;
    Ok((!running.is_none()).then_some(running))
}

/// The bridge of the loop that runs in this thread, if any; made at its first use.
pub(crate) fn current(py: Python<'_>) -> PyResult<Option<Arc<Bridge>>> {
    let Some(running) = running_loop(py)? else {
        return Ok(None);
    };
    let latest = LATEST.with_borrow(Clone::clone);
    if let Some(bridge) = latest.filter(|bridge| bridge.serves(&running)) {
        return Ok(Some(bridge));
    }
    let bridge = find_or_open(&running)?;
    let outdated = LATEST.replace(Some(Arc::clone(&bridge)));
    drop(outdated);
    Ok(Some(bridge))
}

fn find_or_open(running: &Bound<'_, PyAny>) -> PyResult<Arc<Bridge>> {
    let address = running.as_ptr().addr();
    let known = lock(&BRIDGES).get(&address).cloned();
    if let Some(bridge) = known.filter(|bridge| bridge.serves(running)) {
        return Ok(bridge);
    }
    let bridge = Arc::new(Bridge {
        door: Arc::new(Door::new(LoopBell::new()?)),
        event_loop: PyWeakrefReference::new(running)?.unbind(),
        address,
        flights: Mutex::default(),
        lounge: Mutex::default(),
        inbox: Mutex::default(),
        ready: Mutex::default(),
    });
    bridge.listen(running)?;
    let replaced = lock(&BRIDGES).insert(address, Arc::clone(&bridge));
    drop(replaced);
    Ok(bridge)
}

impl Bridge {
    /// The loop, while it lives.
    pub(crate) fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop.bind(py).upgrade()
    }

    fn serves(&self, running: &Bound<'_, PyAny>) -> bool {
        self.address == running.as_ptr().addr()
            && self.event_loop(running.py()).is_some_and(|own| own.is(running))
    }

    /// Has the loop call `drain` whenever the bell rings.
    fn listen(self: &Arc<Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        static DRAIN: Imported = Imported::new("offloop._bridge", "drain");
        let py = event_loop.py();
        let ready = Bound::new(py, PyReady { bridge: Arc::clone(self), turn: Mutex::default() })?;
        if let Some(descriptor) = self.door.queue.doorbell().descriptor() {
            let reader = (descriptor, DRAIN.load(py)?, &ready);
            match event_loop.call_method1(intern!(py, "add_reader"), reader) {
                Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {}
                other => return other.map(drop),
            }
        }
        static RING: Imported = Imported::new("offloop._bridge", "ring_loop");
        let ringer = PyRinger { ringer: self.door.queue.doorbell().ring_by_thread() };
        RING.load(py)?.call1((ringer, event_loop, ready)).map(drop)
    }

    /// Registers a started Job; the slot names its flight.
    pub(crate) fn board(&self, ticket: &Arc<JobTicket>) -> usize {
        lock(&self.flights).insert(Flight { ticket: Arc::clone(ticket), job: None })
    }

    /// Hands an operation to the runtime: at once if it is alone, else with its companions.
    pub(crate) fn depart(self: &Arc<Self>, py: Python<'_>, departure: Departure) -> PyResult<()> {
        let mut lounge = lock(&self.lounge);
        if !lounge.busy && !lounge.in_turn {
            lounge.busy = true;
            drop(lounge);
            return raise(py, runtime::spawn(departure).map(drop));
        }
        lounge.departures.push(departure);
        if lounge.departures.len() >= BATCH {
            let departures = std::mem::take(&mut lounge.departures);
            drop(lounge);
            return raise(py, runtime::spawn_each(departures));
        }
        if lounge.in_turn || std::mem::replace(&mut lounge.scheduled, true) {
            return Ok(());
        }
        let call = lounge.call.as_ref().map(|call| call.clone_ref(py));
        drop(lounge);
        let call = match call {
            Some(call) => call,
            None => {
                let call = Py::new(py, PySendOff { bridge: Arc::downgrade(self) })?;
                lock(&self.lounge).call = Some(call.clone_ref(py));
                call
            }
        };
        match self.event_loop(py) {
            Some(event_loop) => {
                event_loop.call_method1(intern!(py, "call_soon"), (call,)).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Hands all waiting operations to the runtime.
    fn send_off(&self) {
        let mut lounge = lock(&self.lounge);
        lounge.busy = false;
        lounge.in_turn = false;
        lounge.scheduled = false;
        let departures = std::mem::take(&mut lounge.departures);
        drop(lounge);
        if !departures.is_empty() {
            // The runtime was started before they came here: it cannot refuse.
            let _ = runtime::spawn_each(departures);
        }
    }

    /// Keeps `job` alive until its flight has landed, or lets it go.
    pub(crate) fn keep(&self, slot: usize, job: Option<Py<PyJob>>) {
        let previous = match lock(&self.flights).get_mut(slot) {
            Some(flight) => std::mem::replace(&mut flight.job, job),
            None => job,
        };
        drop(previous);
    }

    /// Calls a flight off: its work stops now, and nobody is told.
    pub(crate) fn call_off(&self, slot: usize) {
        let flight = lock(&self.flights).try_remove(slot);
        if let Some(flight) = flight {
            flight.ticket.cancel();
        }
    }

    /// Settles the Job a parcel is about and lines its callbacks up.
    fn land(&self, py: Python<'_>, parcel: Parcel) {
        let Some(outcome) = parcel.ticket.take() else {
            return; // called off, and its slot may be another's by now
        };
        let outcome = match outcome.map(|outcome| outcome.land(py, self, &parcel)) {
            Ok(Landing::Done(outcome)) => Ok(outcome),
            Ok(Landing::SecondLeg) => return,
            Err(error) => Err(error),
        };
        let flight = lock(&self.flights).try_remove(parcel.slot);
        match flight.and_then(|flight| flight.job) {
            Some(job) => {
                let callbacks = PyJob::settle(job.bind(py), outcome);
                let mut ready = lock(&self.ready);
                ready.extend(callbacks.into_iter().map(|due| due.call(job.clone_ref(py))));
            }
            // Nobody awaits it: whoever holds the Job may ask, and if nobody does, the outcome
            // dies with the parcel, here in the loop's thread.
            None => parcel.ticket.leave(outcome),
        }
    }

    fn next_call(&self, py: Python<'_>) -> Option<Call> {
        loop {
            if let Some(call) = lock(&self.ready).pop_front() {
                return Some(call);
            }
            let parcel = lock(&self.inbox).pop_front()?;
            self.land(py, parcel);
        }
    }

    /// The loop has closed: stops what is under way and lets go of all Python objects.
    fn close(&self) {
        if runtime::check_alive().is_err() {
            return; // a forked child: locks may be held by threads that do not exist here
        }
        let registered = {
            let mut bridges = lock(&BRIDGES);
            let own =
                bridges.get(&self.address).is_some_and(|it| std::ptr::eq(&raw const **it, self));
            if own { bridges.remove(&self.address) } else { None }
        };
        let parcels = self.door.queue.close();
        let flights = std::mem::take(&mut *lock(&self.flights));
        for (_, flight) in &flights {
            flight.ticket.cancel();
        }
        let lounge = std::mem::take(&mut *lock(&self.lounge));
        let inbox = std::mem::take(&mut *lock(&self.inbox));
        let ready = std::mem::take(&mut *lock(&self.ready));
        drop((registered, parcels, flights, lounge, inbox, ready));
    }
}

/// `Bridge::send_off`, for `call_soon`.
#[pyclass(name = "SendOff", module = "offloop._offloop", frozen)]
pub(crate) struct PySendOff {
    bridge: Weak<Bridge>,
}

#[pymethods]
impl PySendOff {
    fn __call__(&self) {
        if let Some(bridge) = self.bridge.upgrade() {
            bridge.send_off();
        }
    }
}

fn raise(py: Python<'_>, sent: Result<(), Error>) -> PyResult<()> {
    sent.map_err(|error| errors::exception(py, &error))
}

/// The callbacks that are due, one after the other: what `drain` iterates over. Each iteration
/// is one turn: it begins with everything that has rung, and ends when all is done or time is up.
#[pyclass(name = "Ready", module = "offloop._offloop", frozen, weakref)]
pub(crate) struct PyReady {
    bridge: Arc<Bridge>,
    /// When the turn began, and whether asyncio's debug mode wants callbacks for itself.
    turn: Mutex<Option<(Instant, bool)>>,
}

#[pymethods]
impl PyReady {
    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        let bridge = &this.bridge;
        bridge.door.queue.doorbell().silence();
        bridge.door.queue.drain(&mut lock(&bridge.inbox));
        let debug = match bridge.event_loop(py) {
            Some(event_loop) => event_loop.call_method0(intern!(py, "get_debug"))?.is_truthy()?,
            None => false,
        };
        *lock(&this.turn) = Some((Instant::now(), debug));
        lock(&bridge.lounge).in_turn = true;
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
                return (call.context, call.callback, call.job).into_pyobject(py).map(Some);
            }
            // asyncio names slow callbacks itself, if it is the one who calls them.
            if let Some(event_loop) = self.bridge.event_loop(py) {
                call_soon(&event_loop, call)?;
            }
        }
        self.bridge.send_off();
        Ok(None)
    }

    /// Ends the turn before all is done, and asks the loop for one more.
    fn ring(&self) {
        let more = !lock(&self.bridge.inbox).is_empty() || !lock(&self.bridge.ready).is_empty();
        if more {
            self.bridge.door.queue.ring();
        }
        self.bridge.send_off();
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

/// `loop.call_soon(callback, job, context=context)`.
pub(crate) fn call_soon(event_loop: &Bound<'_, PyAny>, call: Call) -> PyResult<()> {
    let py = event_loop.py();
    let keywords = pyo3::types::PyDict::new(py);
    keywords.set_item(intern!(py, "context"), call.context)?;
    let arguments = (call.callback, call.job);
    event_loop.call_method(intern!(py, "call_soon"), arguments, Some(&keywords)).map(drop)
}

/// Waits, without the GIL, for rings on behalf of a loop that has no readers.
#[pyclass(name = "Ringer", module = "offloop._offloop", frozen)]
pub(crate) struct PyRinger {
    ringer: Arc<Ringer>,
}

#[pymethods]
impl PyRinger {
    /// Sleeps until the bell rings (True), or half a second: time to see whether the loop, which
    /// has no reader to tell of its end, has closed.
    fn wait(&self, py: Python<'_>) -> bool {
        py.detach(|| self.ringer.wait(Duration::from_millis(500)))
    }
}
