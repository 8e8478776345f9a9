//! Whether a request is sent once more, and what it does until then.

use std::time::{Instant, SystemTime};

use url::Position;

use super::batch::{self, Wait};
use super::body::Answer;
use super::client::Inner;
use super::journey::Journey;
use super::request::Request;
use super::retry::retry_after;
use super::stats::add;
use crate::error::{Error, Phase};

impl Inner {
    /// How long to wait before the request is tried again because of its answer.
    pub(super) fn worth_a_retry(
        &self,
        request: &Request,
        answer: &Answer,
        journey: &mut Journey,
    ) -> Option<Wait> {
        let retry = &request.retry;
        let wanted = journey.retries < retry.attempts
            && retry.allows_status(answer.status.as_u16())
            && retry.allows_method(&request.method)
            && request.content.is_replayable();
        if !wanted {
            return None;
        }
        let asked = retry_after(&answer.headers, SystemTime::now());
        let time = retry.wait(journey.retries, asked)?;
        let asked = asked.filter(|_| retry.respect_retry_after);
        let busy = batch::is_busy(answer.status);
        self.spend(journey).then_some(Wait { time, asked, busy })
    }

    /// After a failure: how long to wait for the next try, or the failure.
    pub(super) fn after_failure(
        &self,
        error: Error,
        request: &Request,
        journey: &mut Journey,
    ) -> Result<Wait, Box<Error>> {
        let retry = &request.retry;
        let wanted = journey.retries < retry.attempts
            && retry.allows_error(&error)
            && retry.allows_method(&request.method)
            && request.content.is_replayable();
        let wait = if wanted { retry.wait(journey.retries, None) } else { None };
        let Some(time) = wait.filter(|_| self.spend(journey)) else {
            return Err(journey.blame(error, request, &self.counters));
        };
        let began = Instant::now();
        journey.note(request, None, Some(&error), began);
        Ok(Wait { time, asked: None, busy: batch::is_overload(error.kind) })
    }

    /// Waits for the next try; boxed, because it is rare.
    pub(super) async fn pause(
        &self,
        wait: Wait,
        request: &Request,
        journey: &mut Journey,
    ) -> Result<(), Box<Error>> {
        let slot = journey.trip.way.slot.clone();
        let sleep = Box::pin(async move {
            match slot {
                Some(slot) => slot.sit_out(wait).await,
                None => tokio::time::sleep(wait.time).await,
            }
        });
        let paused = Box::pin(journey.trip.clock.total(Phase::Queue, sleep)).await;
        paused.map_err(|error| journey.blame(error, request, &self.counters))
    }

    /// One of many requests takes a place at the host that it was redirected to; boxed likewise.
    pub(super) async fn change_host(
        &self,
        request: &Request,
        journey: &mut Journey,
    ) -> Result<(), Box<Error>> {
        let Some(slot) = journey.trip.way.slot.clone() else { return Ok(()) };
        let moving = Box::pin(slot.move_to(&request.url[..Position::BeforePath]));
        let moved = Box::pin(journey.trip.clock.total(Phase::Queue, moving)).await;
        moved.map_err(|error| journey.blame(error, request, &self.counters))
    }

    fn spend(&self, journey: &mut Journey) -> bool {
        if !self.budget.withdraw() {
            return false;
        }
        journey.retries += 1;
        add(&self.counters.retried, 1);
        true
    }
}
