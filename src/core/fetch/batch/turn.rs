//! A request that the owner of a batch sends himself, when its turn has come: there is more to it
//! than a request, such as functions of Python's to be called before and after.
//!
//! The schedule treats it like all others. Its place is given up while it waits to be tried again,
//! and when it ends, which the owner says; one that is dropped has failed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::Outcome;
use super::adaptive::Sign;
use super::dispatch::{Shared, lock};
use super::lane::{Done, News, is_overload, news};
use super::schedule::HostKey;
use super::slot::{Hold, Seat, Slot, Wait};
use super::state::Job;
use crate::error::Error;
use crate::fetch::client::{Client, Way};
use crate::fetch::opened::Opened;
use crate::fetch::request::Request;
use crate::fetch::response::{Asked, Response};
use crate::runtime;

/// One request whose turn it is.
#[derive(Debug)]
pub struct Turn {
    index: u64,
    number: u64,
    asked: Asked,
    slot: Arc<Slot>,
    /// What `fetch` has learned of the host; written by it, read when all is over.
    news: Mutex<News>,
    over: AtomicBool,
}

/// How a turn has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// There is no result but an error.
    pub failed: bool,
    /// Bytes that came.
    pub bytes: u64,
    /// The host has too much to do.
    pub busy: bool,
    /// For so long it asks to be left alone.
    pub wait: Option<Duration>,
}

impl Turn {
    pub(super) fn new(shared: Arc<Shared>, host: HostKey, job: &Job, now: Instant) -> Arc<Self> {
        let seat = Arc::new(Mutex::new(Seat { host, hold: Hold::Place, began: now }));
        Arc::new(Self {
            index: job.index,
            number: job.number,
            asked: Asked::of(&job.request),
            slot: Arc::new(Slot { shared, seat }),
            news: Mutex::new((Sign::Neutral, None)),
            over: AtomicBool::new(false),
        })
    }

    /// Where it stood in the source.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Sends a request in this turn, as a lane would have sent the one it is of.
    ///
    /// # Errors
    /// As `Client::fetch`.
    pub async fn fetch(
        &self,
        client: Client,
        request: Request,
    ) -> Result<Box<Response>, Box<Error>> {
        let shared = &self.slot.shared;
        let retry = Arc::clone(&request.retry);
        let way = Way {
            slot: Some(Arc::clone(&self.slot)),
            exempt: shared.exempt,
            keeper: shared.keeper.clone(),
            builder: None,
        };
        let outcome = client.fetch_by(request, way).await;
        *lock(&self.news) = news(&outcome, &retry, shared.adaptive);
        outcome
    }

    /// As `Client::begin`, in this turn. Of several at once for the same turn only one may be in it:
    /// while that one waits to be tried again, others may have the place.
    ///
    /// # Errors
    /// As `Client::begin`.
    pub async fn begin(&self, client: Client, request: Request) -> Result<Opened, Box<Error>> {
        let slot = Some(Arc::clone(&self.slot));
        client.begin_by(request, Way { slot, ..Way::default() }).await
    }

    /// Waits for so long without the place, then for a place; `error` is why.
    pub async fn sit_out(&self, time: Duration, error: &Error) {
        let busy = is_overload(error.kind);
        self.slot.sit_out(Wait { time, asked: None, busy }).await;
    }

    /// It is over; what came of it is for the owner to know. Counts once.
    pub fn finish(&self, ended: Ended) {
        if runtime::check_alive().is_err() || self.over.swap(true, Ordering::Relaxed) {
            return; // a forked child's lock may be held by a thread that does not exist here
        }
        let Ended { failed, bytes, busy, wait } = ended;
        let news = if busy { (Sign::Busy, wait) } else { *lock(&self.news) };
        let outcome = Outcome::Elsewhere { failed, bytes };
        let (number, index, asked) = (self.number, self.index, self.asked.clone());
        let done = Done { number, index, asked, outcome, news };
        self.slot.shared.complete(None, done, &self.slot);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.finish(Ended { failed: true, ..Ended::default() });
    }
}
