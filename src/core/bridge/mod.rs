//! The way home: how what a Rust thread finished reaches the event loop that asked for it.
//!
//! `ticket` is one operation's state, `queue` the door of one loop, `carry` runs an operation
//! from the one to the other, `times` notes when. None of them knows Python.

#[cfg(not(offloop_loom))]
mod carry;
mod queue;
mod sync;
mod ticket;
mod times;

#[cfg(all(test, offloop_loom))]
mod model;

#[cfg(not(offloop_loom))]
pub use carry::{Carry, Door, Operation};
pub use queue::{Bell, Doorbell, Queue};
pub use ticket::{Stage, Ticket};
pub use times::{note_times, note_times_no_more, now, times_are_noted};
