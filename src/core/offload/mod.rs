//! Calls that wait for somebody to run them. `pool` decides whose turn it is and who is woken or
//! hired; the threads and processes belong to whoever embeds this.
//!
//! * `queue`: in which order calls are taken.
//! * `gate`: a limit of its own for some of a pool's calls.
//! * `figures`: what has become of them, counted.

mod figures;
mod gate;
mod pool;
mod queue;
mod sync;

#[cfg(all(test, offloop_loom))]
mod model;

pub use figures::{Ended, Figures, Histogram};
pub use gate::{Entered, Gate};
pub use pool::{Crew, Pool, Refused, Snapshot, Submitted, Taken, Worker};
pub use queue::{Queue, Waiting};

/// What a queue has to know of the calls in it.
pub trait Call {
    /// Whether anybody still waits for it.
    fn is_wanted(&self) -> bool;
}
