//! A lane: a task of the runtime that takes one request after the other.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Outcome;
use super::adaptive::Sign;
use super::dispatch::Shared;
use super::schedule::HostKey;
use super::slot::{Hold, Seat, Slot};
use super::state::Job;
use crate::error::{Error, Kind};
use crate::fetch::client::Way;
use crate::fetch::response::{Asked, Response};
use crate::fetch::retry::{Retry, retry_after};

/// What a lane, or the owner, has brought home.
pub(super) struct Done {
    pub(super) number: u64,
    pub(super) index: u64,
    pub(super) asked: Asked,
    pub(super) outcome: Outcome,
    pub(super) news: News,
}

/// What it says of its host's load, and how long the host asks to be left alone.
pub(super) type News = (Sign, Option<Duration>);

/// One lane, as the others see it; read and written with the lock of the batch held.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Its task, as soon as that is known.
    pub(super) task: Option<AbortHandle>,
    /// What it is to do next, if it has been waiting for something to do.
    pub(super) next: Option<(HostKey, Job)>,
    /// Wakes it for that.
    pub(super) waker: Option<Waker>,
}

/// A lane: one request after the other, until the batch is closed. A task that waits costs less
/// than a new one: its future is large, and is moved twice before it is polled first.
pub(super) async fn drive(shared: Arc<Shared>, lane: usize, host: HostKey, job: Job) {
    let mut next = Some((host, job));
    while let Some((host, job)) = next.take() {
        let Job { number, index, request } = job;
        let seat = Seat { host, hold: Hold::Place, began: Instant::now() };
        let seat = Arc::new(Mutex::new(seat));
        let slot = Arc::new(Slot { shared: Arc::clone(&shared), seat });
        let (asked, retry) = (Asked::of(&request), Arc::clone(&request.retry));
        let way = Way {
            slot: Some(Arc::clone(&slot)),
            exempt: shared.exempt,
            keeper: shared.keeper.clone(),
            builder: None,
        };
        let outcome = {
            let mut fetch = pin!(shared.client.clone().fetch_by(request, way));
            poll_fn(|context| {
                let poll = AssertUnwindSafe(|| fetch.as_mut().poll(context));
                catch_unwind(poll).unwrap_or_else(|payload| {
                    Poll::Ready(Err(Box::new(Error::from_panic(payload.as_ref()))))
                })
            })
            .await
        };
        let news = news(&outcome, &retry, shared.adaptive);
        let outcome = outcome.map_or_else(Outcome::Error, Outcome::Response);
        let done = Done { number, index, asked, outcome, news };
        next = shared.complete(Some(lane), done, &slot);
        drop(slot);
        shared.give_way();
        if next.is_none() {
            next = poll_fn(|context| shared.poll_next(lane, context)).await;
        }
    }
}

/// What an outcome says of its host.
pub(super) fn news(
    outcome: &Result<Box<Response>, Box<Error>>,
    retry: &Retry,
    adaptive: bool,
) -> News {
    match outcome {
        Ok(response) if is_busy(response.head.status) => {
            let heeded = retry.respect_retry_after && (adaptive || retry.attempts > 0);
            let asked = retry_after(&response.head.headers, SystemTime::now());
            (Sign::Busy, asked.filter(|asked| heeded && *asked <= retry.max_wait))
        }
        Ok(response) => (Sign::Fine(response.timings.first_byte), None),
        Err(error) if is_overload(error.kind) => (Sign::Busy, None),
        Err(_) => (Sign::Neutral, None),
    }
}

/// Whether a status says that the host has too much to do.
pub(in crate::fetch) fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Whether a failure is what an overloaded host looks like.
pub(in crate::fetch) fn is_overload(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Connect
            | Kind::ConnectTimeout
            | Kind::ReadTimeout
            | Kind::WriteTimeout
            | Kind::TotalTimeout
            | Kind::Stalled
    )
}
