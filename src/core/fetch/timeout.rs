//! How long each phase of a request may take, and the clock that watches over one request.
//!
//! Every await of a request runs under [`Clock::limit`], so nothing waits for ever. It costs one
//! timer for each await that is not ready at once. Timers have steps of 1 ms, so what comes before
//! a finer limit's timer is compared with the clock as well.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::error::{Error, Figure, Kind, Phase};

/// A limit below this is over before its timer says so: tokio's have steps of 1 ms, and round up.
const FINE: Duration = Duration::from_millis(2);

/// The limits of one request; `None` switches one off.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For everything together: queue, redirects, retries, and the body.
    pub total: Option<Duration>,
    /// The caller asked for `total`: it covers the body of a stream, too.
    pub total_is_given: bool,
    /// For a free connection of the client's limits.
    pub pool: Option<Duration>,
    /// For DNS, TCP, proxy and TLS of one connection.
    pub connect: Option<Duration>,
    /// For the head of the response, and then between two pieces of its body.
    pub read: Option<Duration>,
    /// Between two pieces of the request's body.
    pub write: Option<Duration>,
    /// A body that brings fewer bytes than this per second, for so long, is given up.
    pub stall: Option<(u64, Duration)>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            total: Some(Duration::from_secs(300)),
            total_is_given: false,
            pool: Some(Duration::from_secs(60)),
            connect: Some(Duration::from_secs(10)),
            read: Some(Duration::from_secs(30)),
            write: Some(Duration::from_secs(30)),
            stall: Some((1024, Duration::from_secs(60))),
        }
    }
}

/// One request's time: when it began, and when it has to be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) began: Instant,
    total: Option<Duration>,
    end: Option<Instant>,
}

impl Clock {
    pub(super) fn start(total: Option<Duration>) -> Self {
        let began = Instant::now();
        Self { began, total, end: total.and_then(|total| began.checked_add(total)) }
    }

    /// The same clock without its end, for a body that has limits of its own.
    pub(super) fn endless(self) -> Self {
        Self { total: None, end: None, ..self }
    }

    /// Runs `work` for at most `limit` and never beyond the end of the request.
    ///
    /// # Errors
    /// `kind`, or `TotalTimeout` when that comes first.
    pub(super) async fn limit<T>(
        &self,
        kind: Kind,
        phase: Phase,
        limit: Option<Duration>,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut work = pin!(work);
        // What is ready at once needs neither a timer nor a look at the clock.
        if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await
        {
            return Ok(done);
        }
        let now = Instant::now();
        let until = limit.and_then(|limit| now.checked_add(limit));
        let Some(first) = self.end.into_iter().chain(until).min() else {
            return Ok(work.await);
        };
        let fine = first.saturating_duration_since(now) < FINE;
        if let Ok(done) = tokio::time::timeout_at(first.into(), work).await
            && !(fine && Instant::now() > first)
        {
            return Ok(done);
        }
        Err(match limit {
            Some(limit) if until == Some(first) && self.end != until => overdue(kind, phase, limit),
            _ => overdue(Kind::TotalTimeout, phase, self.total.unwrap_or_default()),
        })
    }

    /// Runs `work` until the end of the request.
    pub(super) async fn total<T>(
        &self,
        phase: Phase,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        self.limit(Kind::TotalTimeout, phase, None, work).await
    }
}

pub(super) fn overdue(kind: Kind, phase: Phase, limit: Duration) -> Error {
    let seconds = limit.as_secs_f64();
    let text = match kind {
        Kind::PoolTimeout => format!("no connection came free within {seconds} s"),
        Kind::ConnectTimeout => format!("no connection stood after {seconds} s"),
        Kind::ReadTimeout => format!("nothing came for {seconds} s"),
        Kind::WriteTimeout => format!("nothing could be sent for {seconds} s"),
        Kind::Stalled => format!("the body came too slowly for {seconds} s"),
        _ => format!("the request took longer than {seconds} s in total"),
    };
    Error::new(kind, text).during(phase).with("seconds", Figure::Seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ready at its second poll, which lasts for 3 ms: no timer can interrupt it.
    async fn slow() -> u8 {
        let mut polls = 0;
        poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            std::thread::sleep(Duration::from_millis(3));
            Poll::Ready(7)
        })
        .await
    }

    async fn limited(clock: Clock, limit: Duration) -> Result<u8, Kind> {
        let limited = clock.limit(Kind::ReadTimeout, Phase::Head, Some(limit), slow());
        limited.await.map_err(|error| error.kind)
    }

    #[tokio::test]
    async fn what_comes_after_a_limit_finer_than_the_timers_is_late() {
        let clock = Clock::start(None);
        assert_eq!(limited(clock, Duration::from_micros(100)).await, Err(Kind::ReadTimeout));
        assert_eq!(limited(clock, Duration::ZERO).await, Err(Kind::ReadTimeout));
        assert_eq!(limited(clock, Duration::from_secs(60)).await, Ok(7));
    }

    #[tokio::test]
    async fn the_end_of_the_request_may_be_finer_than_the_timers_too() {
        let clock = Clock::start(Some(Duration::from_micros(100)));
        assert_eq!(limited(clock, Duration::from_secs(60)).await, Err(Kind::TotalTimeout));
    }
}
