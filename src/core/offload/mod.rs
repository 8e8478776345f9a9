//! Calls that wait for a thread. `pool` is the queue; the threads belong to whoever runs it.

mod pool;

pub use pool::{Pool, Submitted, Worker};
