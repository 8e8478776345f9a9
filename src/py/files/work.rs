//! An operation on its way to the threads for files, and home through the door of its loop.
//!
//! It goes straight to core's lane, without tokio in between, and comes home as everything does:
//! ticket, queue, bell.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use offloop_core::bridge::Bell;
use offloop_core::error::Error;
use offloop_core::files::{Failure, Halt, Lane};
use offloop_core::runtime;
use pyo3::prelude::*;

use super::finding::{Finding, Found};
use super::given::{Data, Given};
use crate::doorbell::LoopBell;
use crate::event_loop::{Bridge, JobDoor, Parcel};
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;

/// The most threads for files; as many as Python's own executor has on a large machine. A file
/// that blocks (a pipe, a network that has gone) holds one.
const THREADS: usize = 32;

static LANE: LazyLock<Lane<Bell<LoopBell>>> = LazyLock::new(|| Lane::new(THREADS));

type Operation = Box<dyn FnOnce(&Arc<Halt>) -> Finding + Send>;

/// What the kernel gives without waiting, if it does.
type Peek = Box<dyn FnOnce() -> Option<Finding> + Send>;

/// An operation on files, not yet started.
pub(crate) struct FileWork {
    operation: Operation,
    /// Tried first, by the loop's thread.
    peek: Option<Peek>,
}

/// How many small reads the loop's thread does by itself before it comes round: each costs it some
/// microseconds, and saves two changes of thread. More at once are a burst, for which a thread
/// beside the loop is the better choice. Arbitrary.
const SPARE: u8 = 8;

/// How many of them are left until the loop comes round. The loop's thread alone touches it.
#[derive(Debug)]
pub(crate) struct Spare(AtomicU8);

impl Default for Spare {
    fn default() -> Self {
        Self(AtomicU8::new(SPARE))
    }
}

impl Spare {
    /// A turn begins.
    pub(crate) fn refill(&self) {
        self.0.store(SPARE, Ordering::Relaxed);
    }

    fn take_one(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }
}

impl FileWork {
    /// A Job called `verb path` that gives what `operation` finds.
    pub(crate) fn job(
        py: Python<'_>,
        verb: &'static str,
        given: Given,
        operation: impl FnOnce(&Given, &Arc<Halt>) -> Result<Found, Failure> + Send + 'static,
    ) -> PyResult<PyJob> {
        let label = Label::Path(verb, given.shared());
        let operation: Operation = Box::new(move |halt| {
            let found = operation(&given, halt);
            Finding { given, found, data: None }
        });
        PyJob::new(py, label, Work::File(Self { operation, peek: None }))
    }

    /// The same, but the loop's thread tries `peek` first, which must not wait.
    pub(crate) fn peeking(
        py: Python<'_>,
        verb: &'static str,
        given: Given,
        peek: impl FnOnce(&Path) -> Option<Found> + Send + 'static,
        operation: impl FnOnce(&Given, &Arc<Halt>) -> Result<Found, Failure> + Send + 'static,
    ) -> PyResult<PyJob> {
        let label = Label::Path(verb, given.shared());
        let seen = given.clone();
        let peek: Peek = Box::new(move || {
            peek(seen.path()).map(|found| Finding { given: seen, found: Ok(found), data: None })
        });
        let operation: Operation = Box::new(move |halt| {
            let found = operation(&given, halt);
            Finding { given, found, data: None }
        });
        PyJob::new(py, label, Work::File(Self { operation, peek: Some(peek) }))
    }

    /// A Job called `verb path` that writes `data`.
    pub(crate) fn writing(
        py: Python<'_>,
        verb: &'static str,
        given: Given,
        data: Data,
        operation: impl FnOnce(&Path, &[u8], &Halt) -> Result<(), Failure> + Send + 'static,
    ) -> PyResult<PyJob> {
        let label = Label::Path(verb, given.shared());
        let operation: Operation = Box::new(move |halt| {
            let written = operation(given.path(), data.bytes(), halt);
            let found = written.map(|()| Found::Written(data.bytes().len()));
            Finding { given, found, data: Some(data) }
        });
        PyJob::new(py, label, Work::File(Self { operation, peek: None }))
    }

    /// Queues it; a cancel reaches it through the halt.
    pub(crate) fn submit(self, bridge: &Bridge, parcel: Parcel) -> Result<Arc<Halt>, Error> {
        let halt = Arc::new(Halt::default());
        let (door, theirs) = (Arc::clone(&bridge.door), Arc::clone(&halt));
        let Self { operation, peek } = self;
        if let Some(peek) = peek
            && bridge.spare.take_one()
            // A forked child is told so by the lane.
            && runtime::check_alive().is_ok()
            && let Some(finding) = peek()
        {
            // It comes home with the loop's next turn, so that who reads on and on lets others in.
            drop(deliver(parcel, &door, move || Outcome::File(Box::new(finding))));
            return Ok(halt);
        }
        LANE.submit(Box::new(move || {
            if !parcel.ticket.begin(0) {
                // Cancelled while it waited: what is left of it goes home unopened.
                return bring_back(parcel, &door, operation);
            }
            deliver(parcel, &door, move || Outcome::File(Box::new(operation(&theirs))))
        }))?;
        Ok(halt)
    }
}

impl fmt::Debug for FileWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileWork")
    }
}

/// Queues the second leg of an operation that has been taken up already.
pub(crate) fn send_again(
    door: &Arc<JobDoor>,
    parcel: Parcel,
    rest: impl FnOnce() -> Outcome + Send + 'static,
) -> Result<(), Error> {
    let door = Arc::clone(door);
    LANE.submit(Box::new(move || deliver(parcel, &door, rest)))
}

fn deliver(
    parcel: Parcel,
    door: &JobDoor,
    work: impl FnOnce() -> Outcome,
) -> Option<Bell<LoopBell>> {
    let outcome = catch_unwind(AssertUnwindSafe(work))
        .map_err(|payload| Box::new(Error::from_panic(payload.as_ref())));
    match parcel.ticket.complete(outcome) {
        Ok(()) => door.queue.push(parcel).ok()?,
        Err(unwanted) => bring_back(parcel, door, unwanted),
    }
}

/// Has the loop's thread release what nobody wants: there may be Python objects in it.
fn bring_back(
    mut parcel: Parcel,
    door: &JobDoor,
    remains: impl Send + 'static,
) -> Option<Bell<LoopBell>> {
    parcel.remains = Some(Box::new(remains));
    door.queue.push(parcel).ok()?
}

/// Whether threads for files exist: a forked child would miss them.
pub(crate) fn has_threads() -> bool {
    LANE.has_threads()
}
