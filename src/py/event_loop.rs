//! One loop's side of everything that is under way for it: a [`Bridge`] for each asyncio or
//! uvloop loop, found by the loop's identity.
//!
//! Rust threads push into the bridge's door and ring; the loop's reader then takes a `turn`. The
//! loop itself is held weakly. Its reader owns the one `PyReady`; when the loop closes, the
//! reader is dropped, and with it everything that was still under way.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex};

use offloop_core::bridge::{Door, Ticket};
use offloop_core::error::Error;
use offloop_core::fetch::take_notice_of_bundled_roots;
use offloop_core::runtime;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use slab::Slab;

use crate::convert::{Imported, Variables, lock};
use crate::doorbell::LoopBell;
use crate::fetch::rooms::Rooms;
use crate::files::Spare;
use crate::job::PyJob;
use crate::lounge::Lounge;
use crate::offload::Looks;
use crate::outcome::{Landing, Outcome};
use crate::turn::{PyReady, PyRinger};
use crate::watch::Beats;

/// A finished operation on its way through the door: which flight it was, and its outcome.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) slot: usize,
    pub(crate) ticket: Arc<JobTicket>,
    /// Objects that nobody wants any more, for the loop's thread to release.
    pub(crate) remains: Option<Box<dyn Any + Send>>,
}

impl Parcel {
    pub(crate) fn new(slot: usize, ticket: Arc<JobTicket>) -> Self {
        Self { slot, ticket, remains: None }
    }
}

/// One Job's state, shared with whoever runs it.
pub(crate) type JobTicket = Ticket<Result<Outcome, Box<Error>>>;
/// The door of one loop.
pub(crate) type JobDoor = Door<Parcel, LoopBell>;

/// One started Job.
struct Flight {
    ticket: Arc<JobTicket>,
    /// Keeps an awaited Job alive: asyncio holds tasks weakly, and they hold the Job.
    job: Option<Py<PyJob>>,
}

/// One loop's side of everything that is under way for it.
pub(crate) struct Bridge {
    pub(crate) door: Arc<JobDoor>,
    /// Makes room for large bodies.
    pub(crate) rooms: Arc<Rooms>,
    event_loop: Py<PyWeakrefReference>,
    /// Address of the loop object: the key in `BRIDGES`, never dereferenced.
    address: usize,
    flights: Mutex<Slab<Flight>>,
    pub(crate) lounge: Lounge,
    /// Small reads that the loop's thread may still do by itself in this turn.
    pub(crate) spare: Spare,
    /// Whom to tell that the loop comes round.
    pub(crate) beats: Beats,
    /// How the loop looks after long calls.
    pub(crate) looks: Looks,
    /// Fetched from the door, not yet settled. Touched by the loop's thread alone.
    pub(crate) inbox: Mutex<VecDeque<Parcel>>,
    /// Settled, callbacks not yet run. Touched by the loop's thread alone.
    pub(crate) ready: Mutex<VecDeque<Call>>,
}

/// A callback that is due: the variables it sees, itself, and the Job it is about.
pub(crate) struct Call {
    pub(crate) variables: Variables,
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
    let door = Arc::new(Door::new(LoopBell::new()?));
    let bridge = Arc::new(Bridge {
        rooms: Arc::new(Rooms::new(Arc::clone(&door))),
        door,
        event_loop: PyWeakrefReference::new(running)?.unbind(),
        address,
        flights: Mutex::default(),
        lounge: Lounge::default(),
        spare: Spare::default(),
        beats: Beats::default(),
        looks: Looks::default(),
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
        static LISTEN: Imported = Imported::new("offloop._bridge", "listen");
        let py = event_loop.py();
        let ready = Bound::new(py, PyReady::new(Arc::clone(self)))?;
        let descriptor = self.door.queue.doorbell().descriptor();
        let ringer = PyRinger::new(Arc::clone(&self.door));
        LISTEN.load(py)?.call1((event_loop, descriptor, ringer, ready)).map(drop)
    }

    /// Registers a started Job; the slot names its flight.
    pub(crate) fn board(&self, ticket: &Arc<JobTicket>) -> usize {
        lock(&self.flights).insert(Flight { ticket: Arc::clone(ticket), job: None })
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
    fn land(self: &Arc<Self>, py: Python<'_>, parcel: &Parcel) {
        if take_notice_of_bundled_roots() {
            warn_of_bundled_roots(py);
        }
        let Some(outcome) = parcel.ticket.take() else {
            return; // called off, and its slot may be another's by now
        };
        let outcome = match outcome.map(|outcome| outcome.land(py, self, parcel)) {
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

    /// The next callback that is due.
    pub(crate) fn next_call(self: &Arc<Self>, py: Python<'_>) -> Option<Call> {
        loop {
            if let Some(call) = lock(&self.ready).pop_front() {
                return Some(call);
            }
            let parcel = lock(&self.inbox).pop_front()?;
            self.land(py, &parcel);
        }
    }

    /// The loop has closed: stops what is under way and lets go of all Python objects.
    pub(crate) fn close(&self) {
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
        let lounge = self.lounge.close();
        let inbox = std::mem::take(&mut *lock(&self.inbox));
        let ready = std::mem::take(&mut *lock(&self.ready));
        drop((registered, parcels, flights, lounge, inbox, ready));
    }
}

/// `loop.call_soon(callback, job, context=context)`.
pub(crate) fn call_soon(event_loop: &Bound<'_, PyAny>, call: Call) -> PyResult<()> {
    let py = event_loop.py();
    let keywords = pyo3::types::PyDict::new(py);
    keywords.set_item(intern!(py, "context"), call.variables.into_context(py)?)?;
    let arguments = (call.callback, call.job);
    event_loop.call_method(intern!(py, "call_soon"), arguments, Some(&keywords)).map(drop)
}

fn warn_of_bundled_roots(py: Python<'_>) {
    static WARN: Imported = Imported::new("offloop._bridge", "warn_of_bundled_roots");
    if let Err(error) = WARN.load(py).and_then(PyAnyMethods::call0) {
        error.write_unraisable(py, None);
    }
}
