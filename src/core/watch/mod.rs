//! The watchdog: a native thread that notices that an event loop is blocked, and says by what.
//!
//! # Layout
//! * [`beat`](Beat): a question to the loop's thread, and when it was answered.
//! * `thread`: what the system tells of one thread, an `activity`; `calls` names system calls.
//! * `dump`: has the loop's thread write its own stack; `stack` reads what it wrote.
//! * `sample`: one loop's watch, step by step; `evidence` is what is gathered meanwhile, and
//!   `cause` what follows from it.
//! * `pulse`: whether the process itself was stopped; `starved`: whether a thread waits for a
//!   processor; `garbage`: Python's collector.
//! * `report`: what is kept for those who ask later: lags, busy and idle; `timeline` keeps any
//!   length of time small.
//! * `book`: Jobs that came home while somebody watched.
//! * `watcher`: the thread that does all this, and its way to tell.
//!
//! Nothing here knows Python or waits for its lock. The loop is never woken while it is idle:
//! only when it is found at work is the question asked, through its doorbell, whether it still
//! comes round.

mod activity;
mod beat;
mod book;
mod calls;
mod cause;
#[cfg(target_os = "linux")]
mod dump;
#[cfg(not(target_os = "linux"))]
#[path = "dump_elsewhere.rs"]
mod dump;
mod evidence;
mod garbage;
mod pulse;
mod report;
mod sample;
mod stack;
mod starved;
#[cfg(target_os = "linux")]
mod thread;
#[cfg(not(target_os = "linux"))]
#[path = "thread_elsewhere.rs"]
mod thread;
mod timeline;
mod watcher;

pub use beat::{Beat, now};
pub use book::{Book, End, Entry, Lane, Span};
pub use cause::Cause;
pub use dump::{Dumps, Prod};
pub use evidence::Look;
pub use garbage::{began as garbage_collection_began, ended as garbage_collection_ended};
pub use report::{Lag, LoopTime, Pause, Report, Stall, Totals};
pub use stack::{Frame, Stack};
pub use thread::current_thread;
pub use timeline::Timeline;
pub use watcher::{Asked, Settings, Target, Watcher};
