//! One request on its way to its answer: what it has been through, and what is told of it at the end.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use super::exchange::Trip;
use super::request::Request;
use super::response::{Asked, Body, Head, Response};
use super::stats::{Counters, add};
use super::timeout::Clock;
use super::url::redacted;
use crate::error::Error;

/// What has gathered on the way to the answer.
pub(super) struct Journey {
    pub(super) trip: Trip,
    pub(super) history: Vec<Head>,
    pub(super) retries: u32,
    /// Digest challenges of the present hop.
    pub(super) challenges: u32,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            method: request.method.clone(),
            url: Arc::clone(&request.url),
            headers: Arc::clone(&request.headers),
        }
    }
}

impl Journey {
    pub(super) fn begin(request: &Request) -> Self {
        let trip = Trip::begin(Clock::start(request.timeouts.total));
        Self { trip, history: Vec::new(), retries: 0, challenges: 0 }
    }

    /// Writes one try down.
    pub(super) fn note(
        &mut self,
        request: &Request,
        status: Option<StatusCode>,
        error: Option<&Error>,
        began: Instant,
    ) {
        let status = status.map(|status| status.as_u16());
        self.trip.note(request, status, error, began);
    }

    /// The failure with all that is known of the request.
    #[expect(clippy::unnecessary_box_returns, reason = "what a bridge's operation fails with")]
    pub(super) fn blame(
        &mut self,
        error: Error,
        request: &Request,
        counters: &Counters,
    ) -> Box<Error> {
        add(&counters.failed, 1);
        let began = self.trip.clock.began;
        self.note(request, None, Some(&error), began);
        let mut error = error.at(redacted(&request.url));
        let shown = error.url.clone().unwrap_or_default();
        if !error.message.contains(&shown) {
            error.message = format!("{shown}: {}", error.message);
        }
        let details = error.details();
        details.attempts = std::mem::take(&mut self.trip.attempts);
        details.history = self.history.iter().map(|head| redacted(&head.asked.url)).collect();
        details.subject = Some(Box::new(Asked::of(request)));
        Box::new(error)
    }

    pub(super) fn arrive(mut self, head: Head, body: Body, received: u64) -> Box<Response> {
        let ended = Instant::now();
        self.trip.timings.elapsed = ended.duration_since(self.trip.clock.began);
        self.trip.timings.ended = ended;
        Box::new(Response {
            head,
            body,
            history: self.history,
            attempts: self.trip.attempts,
            timings: self.trip.timings,
            received,
            reused: self.trip.reused,
        })
    }
}
