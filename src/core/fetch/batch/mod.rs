//! Many requests at once: pulled as they are needed, shared out fairly, handed over in batches.
//!
//! # Layout
//! * `schedule` says whose turn it is; `adaptive` finds out how much a host can take.
//! * `dispatch` runs what may start on `lane`s, tasks of the runtime that take one request after
//!   the other; `state` keeps what came back until the `owner` takes it.
//! * `slot` is the place of one request, given up while it waits to be tried again; `turn` is that
//!   of a request that the owner sends himself, because there is more to it than sending.
//!
//! Whoever owns a [`Batch`] feeds it when it says that it wants more, and takes results when it
//! says that there are some; dropping it stops everything. The client does the requests: its
//! connections, redirects, retries, cookies and timeouts are the same as for one.

mod adaptive;
mod dispatch;
mod lane;
mod owner;
mod schedule;
mod slot;
mod state;
mod turn;

#[cfg(test)]
mod tests;

pub(super) use lane::{is_busy, is_overload};
pub use owner::Batch;
pub(super) use slot::{Slot, Wait};
pub use turn::{Ended, Turn};

use super::request::Request;
use super::response::Response;
use crate::error::Error;

/// How a batch is run.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "options that have nothing to do with each other"
)]
pub struct BatchOptions {
    /// Requests under way in all.
    pub limit: usize,
    /// Requests under way to one origin.
    pub per_host: usize,
    /// How many of these are good for the origin is found out.
    pub adaptive: bool,
    /// Starts per second and origin.
    pub rate: Option<f64>,
    /// Results come in the order of the requests.
    pub ordered: bool,
    /// The same request is sent once.
    pub dedupe: bool,
    /// A host's first start, too, waits as long as `rate` has it wait between two.
    pub rate_first: bool,
    /// The most that waits between the source and those under way, if that is not to depend on
    /// `limit` alone.
    pub ahead: Option<usize>,
    /// The owner sends what may start: see [`Turn`].
    pub by_owner: bool,
    /// The requests hold no permits of the client's pool: the limits above are all there are.
    pub exempt: bool,
}

/// What a batch is fed with: a request, or the reason why there is none.
#[derive(Debug)]
pub struct Item {
    /// Where it stands in the source.
    pub index: u64,
    /// What is to be sent.
    pub request: Result<Request, Box<Error>>,
}

/// What became of one item.
#[derive(Debug)]
pub struct Fetched {
    /// Where it stood in the source.
    pub index: u64,
    /// What was asked; nothing if the request could not be made.
    pub asked: Option<super::Asked>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of one item.
#[derive(Debug)]
pub enum Outcome {
    /// A response.
    Response(Box<Response>),
    /// None.
    Error(Box<Error>),
    /// Whoever sent it knows, and whether it failed, and how many bytes came.
    Elsewhere {
        /// It failed.
        failed: bool,
        /// Bytes of its body.
        bytes: u64,
    },
}

/// What a batch has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Items taken from the source, without duplicates.
    pub pulled: u64,
    /// Items that are finished.
    pub finished: u64,
    /// Of these, the ones that failed.
    pub failed: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Requests under way now.
    pub in_flight: usize,
    /// Items left out because they came before.
    pub duplicates: u64,
}
