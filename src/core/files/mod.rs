//! Files: whole operations, each one trip to a thread and back.
//!
//! # Layout
//! * [`lane`]: the threads of this area, and the order in which they take work.
//! * [`halt`]: what a cancel does to an operation that is under way.
//! * [`failure`]: the system's refusals, with the path they are about.
//! * [`cached`]: what the loop's thread may read by itself, without waiting.
//! * `entries`: how the system lists a folder; `names` keeps what it lists.
//! * [`read`], [`write`], [`atomic`], [`copy`], [`tree`], [`walk`], [`hash`]: one operation each.
//!
//! All of it is blocking code over `std::fs`, run by the lane's threads and, but for
//! `cached`, by nobody else. None of it knows of Python.

pub mod atomic;
pub mod cached;
pub mod copy;
mod entries;
pub mod failure;
pub mod halt;
pub mod hash;
pub mod lane;
mod names;
pub mod read;
pub mod tree;
pub mod walk;
pub mod write;

pub use failure::Failure;
pub use halt::Halt;
pub use lane::Lane;
