//! Rooms for large bodies: `bytes` objects that the loop's thread makes, and the runtime fills.
//!
//! The runtime's thread never waits for the GIL. It sends an order through the loop's door, goes
//! on meanwhile, and writes into the object when it has come. An object that nobody wants any
//! more goes the same way back, so that Python's memory is let go by the loop's thread.

use std::any::Any;
use std::sync::{Arc, Mutex};

use offloop_core::bridge::Ticket;
use offloop_core::fetch::{Body, Builder, Response, Room, Whole};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::oneshot;

use crate::bytes::Blank;
use crate::convert::lock;
use crate::event_loop::{JobDoor, Parcel};
use crate::outcome::Outcome;

/// No flight has this slot: a parcel that is about no Job.
const NO_JOB: usize = usize::MAX;

/// Asks one loop for rooms.
#[derive(Debug)]
pub(crate) struct Rooms {
    door: Arc<JobDoor>,
}

/// Room that is wanted.
#[derive(Debug)]
pub(crate) struct Order {
    bytes: usize,
    door: Arc<JobDoor>,
    wanted: oneshot::Sender<Option<Box<dyn Room>>>,
}

/// A `bytes` object on its way to being written; `None` once it has been handed over.
#[derive(Debug)]
struct BytesRoom {
    /// Never locked, but by its one owner; a response is `Sync`, and a Blank is not.
    blank: Mutex<Option<Blank>>,
    filled: usize,
    door: Arc<JobDoor>,
}

impl Rooms {
    pub(crate) fn new(door: Arc<JobDoor>) -> Self {
        Self { door }
    }
}

impl Builder for Rooms {
    fn order(&self, bytes: usize) -> oneshot::Receiver<Option<Box<dyn Room>>> {
        let (wanted, room) = oneshot::channel();
        let order = Order { bytes, door: Arc::clone(&self.door), wanted };
        let ticket = Arc::new(Ticket::running());
        if ticket.complete(Ok(Outcome::Order(Box::new(order)))).is_ok() {
            // A closed door drops the order, which says no.
            let _ = self.door.queue.push(Parcel::new(NO_JOB, ticket));
        }
        room
    }
}

impl Order {
    /// Makes the object, in the loop's thread, if there is memory and somebody who still wants it.
    pub(crate) fn fill(self, py: Python<'_>) {
        if self.wanted.is_closed() {
            return;
        }
        let room = Blank::new(py, self.bytes).ok().map(|blank| -> Box<dyn Room> {
            Box::new(BytesRoom { blank: Mutex::new(Some(blank)), filled: 0, door: self.door })
        });
        let _ = self.wanted.send(room);
    }
}

impl Room for BytesRoom {
    fn put(&mut self, piece: &[u8]) {
        if let Ok(Some(blank)) = self.blank.get_mut() {
            self.filled = blank.put(self.filled, piece);
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

impl Drop for BytesRoom {
    fn drop(&mut self) {
        if let Some(blank) = lock(&self.blank).take() {
            let mut parcel = Parcel::new(NO_JOB, Arc::new(Ticket::running()));
            parcel.remains = Some(Box::new(blank));
            let _ = self.door.queue.push(parcel);
        }
    }
}

/// The content of a response whose body stands in a room.
pub(crate) fn vacated(response: &mut Response) -> Option<Py<PyBytes>> {
    if !matches!(response.body, Body::Placed(_)) {
        return None;
    }
    match std::mem::replace(&mut response.body, Body::Whole(Whole::default())) {
        Body::Placed(room) => {
            let room = room.into_any().downcast::<BytesRoom>().ok()?;
            let blank = lock(&room.blank).take()?;
            Some(blank.whole(room.filled))
        }
        _ => None,
    }
}
