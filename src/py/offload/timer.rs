//! `timeout` and `queue_timeout`: a task of the runtime for each call that has one.
//!
//! When the time is up the task stores that as the outcome, unless another was quicker, and sends
//! it home like any other. The exception is made in the loop's thread, which can look where the
//! function stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offloop_core::bridge::Stage;
use offloop_core::offload::{Ended, Pool};
use offloop_core::runtime;
use pyo3::prelude::*;
use tokio::task::AbortHandle;

use super::order::Order;
use super::outside::Outside;
use super::state;
use super::terms::Terms;
use crate::convert::Imported;
use crate::errors;
use crate::event_loop::{Bridge, JobDoor, JobTicket, Parcel};
use crate::outcome::Outcome;

/// Watches the time of one call; stops watching when it is dropped.
pub(crate) struct Timer(AbortHandle);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// That a call's time was up.
pub(crate) struct TimedOut {
    /// `"timeout"` or `"queue_timeout"`.
    option: &'static str,
    limit: Duration,
    since: Instant,
    outside: Option<Arc<Outside>>,
}

impl std::fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimedOut").field("option", &self.option).finish_non_exhaustive()
    }
}

/// One call, as its timer knows it.
struct Watch {
    timeout: Option<Duration>,
    queue_timeout: Option<Duration>,
    since: Instant,
    ticket: Arc<JobTicket>,
    slot: usize,
    door: Arc<JobDoor>,
    calls: Arc<Pool<Order>>,
    outside: Option<Arc<Outside>>,
}

/// Begins to watch the time of a call, if it has any limit.
pub(crate) fn watch(
    py: Python<'_>,
    terms: &Terms,
    outside: Option<&Arc<Outside>>,
    bridge: &Bridge,
    slot: usize,
    ticket: &Arc<JobTicket>,
) -> PyResult<Option<Timer>> {
    if terms.timeout.is_none() && terms.queue_timeout.is_none() {
        return Ok(None);
    }
    let watch = Watch {
        timeout: terms.timeout,
        queue_timeout: terms.queue_timeout,
        since: Instant::now(),
        ticket: Arc::clone(ticket),
        slot,
        door: Arc::clone(&bridge.door),
        calls: Arc::clone(&terms.pool.calls),
        outside: outside.cloned(),
    };
    let task = runtime::spawn(watch.run()).map_err(|error| errors::exception(py, error))?;
    Ok(Some(Timer(task)))
}

impl Watch {
    async fn run(self) {
        if let Some(limit) = self.queue_timeout
            && self.timeout.is_none_or(|timeout| limit < timeout)
        {
            tokio::time::sleep(limit).await;
            let outcome = self.timed_out("queue_timeout", limit);
            if self.ticket.complete_queued(Ok(outcome)).is_ok() {
                self.calls.count(Ended::Failed);
                return self.send();
            }
        }
        if let Some(limit) = self.timeout {
            tokio::time::sleep(limit.saturating_sub(self.since.elapsed())).await;
            let runs = self.ticket.stage() == Stage::Running;
            let outcome = self.timed_out("timeout", limit);
            if self.ticket.complete(Ok(outcome)).is_ok() {
                self.ticket.ask_to_stop();
                self.calls.count(if runs { Ended::Abandoned } else { Ended::Failed });
                self.send();
            }
        }
    }

    fn timed_out(&self, option: &'static str, limit: Duration) -> Outcome {
        let outside = self.outside.clone();
        Outcome::TimedOut(Box::new(TimedOut { option, limit, since: self.since, outside }))
    }

    fn send(&self) {
        let parcel = Parcel::new(self.slot, Arc::clone(&self.ticket));
        drop(self.door.queue.push(parcel));
    }
}

impl TimedOut {
    /// The exception, and word to whoever runs the call elsewhere.
    pub(crate) fn into_exception(
        self,
        py: Python<'_>,
        bridge: &Bridge,
        ticket: &Arc<JobTicket>,
    ) -> PyErr {
        static MAKE: Imported = Imported::new("offloop.pools.thread", "timed_out");
        let total = self.since.elapsed();
        let (ident, ran, call) = match &self.outside {
            Some(outside) => {
                outside.ask_to_stop(py, bridge, "timeout");
                (None, outside.ran(), None)
            }
            None => match state::who_runs(py, ticket) {
                Some((ident, ran, call)) => (Some(ident), ran, Some(call)),
                None => (None, Duration::ZERO, None),
            },
        };
        let queued = total.saturating_sub(ran).as_secs_f64();
        let seconds = (self.limit.as_secs_f64(), queued, ran.as_secs_f64());
        let arguments = (self.option, seconds.0, seconds.1, seconds.2, ident, call);
        match MAKE.load(py).and_then(|make| make.call1(arguments)) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    }
}
