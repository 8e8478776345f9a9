//! The place of one request among those under way, for as long as it makes use of it.
//!
//! A request that is to be tried again waits without its place, so that a host that answers 429
//! holds nobody up; one that is redirected gives its place up for one at the other host, so that
//! the caps of hosts hold for redirects, too. Runs on the runtime's threads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::adaptive::Sign;
use super::dispatch::{Shared, lock};
use super::schedule::HostKey;
use super::state::Entry;
use crate::runtime;

/// The place of one request. Dropping it gives the place up.
#[derive(Debug)]
pub(in crate::fetch) struct Slot {
    pub(super) shared: Arc<Shared>,
    pub(super) seat: Arc<Mutex<Seat>>,
}

/// Where a request stands. Read and written with the lock of the batch held, so its own lock is
/// never waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) host: HostKey,
    pub(super) hold: Hold,
    /// Since when.
    pub(super) began: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It counts as under way at its host.
    Place,
    /// It will want a place at its host.
    Away,
    /// Neither: it is over.
    Nothing,
}

/// Why a request is to be tried again, and when.
#[derive(Clone, Copy, Debug)]
pub(in crate::fetch) struct Wait {
    /// How long after now.
    pub(in crate::fetch) time: Duration,
    /// How long the server asked to be left alone.
    pub(in crate::fetch) asked: Option<Duration>,
    /// The host has too much to do, as far as can be told.
    pub(in crate::fetch) busy: bool,
}

impl Slot {
    /// Waits for the next try without a place, then for a place.
    pub(in crate::fetch) async fn sit_out(&self, wait: Wait) {
        let sign = if wait.busy { Sign::Busy } else { Sign::Neutral };
        self.stand_up(sign, wait.asked, None);
        sleep(wait.time).await;
        self.come_back().await;
    }

    /// Changes to a place at the host of `origin`, which a redirect leads to.
    pub(in crate::fetch) async fn move_to(&self, origin: &str) {
        self.stand_up(Sign::Neutral, None, Some(origin));
        self.come_back().await;
    }

    fn stand_up(&self, sign: Sign, asked: Option<Duration>, next: Option<&str>) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let mut seat = lock(&self.seat);
        let schedule = &mut state.schedule;
        schedule.leave(seat.host, sign, seat.began, now);
        if let Some(asked) = asked.and_then(|asked| now.checked_add(asked)) {
            schedule.pause(seat.host, asked, now);
        }
        if let Some(next) = next {
            seat.host = schedule.host(next, now);
        }
        schedule.away(seat.host, true);
        seat.hold = Hold::Away;
        drop(seat);
        self.shared.dispatch(&mut state, now, None);
    }

    async fn come_back(&self) {
        let (call, called) = oneshot::channel();
        let now = Instant::now();
        {
            let mut state = self.shared.lock();
            let host = lock(&self.seat).host;
            let entry = Entry::Back { seat: Arc::clone(&self.seat), call };
            state.schedule.push_back_in(host, entry, now);
            self.shared.dispatch(&mut state, now, None);
        }
        // It fails only when the batch is closed, and then this is about to be dropped.
        if called.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if runtime::check_alive().is_err() {
            return; // a forked child: the lock may be held by a thread that does not exist here
        }
        let now = Instant::now();
        let mut state = self.shared.lock();
        let mut seat = lock(&self.seat);
        let hold = std::mem::replace(&mut seat.hold, Hold::Nothing);
        match hold {
            Hold::Place => state.schedule.leave(seat.host, Sign::Neutral, seat.began, now),
            Hold::Away => state.schedule.away(seat.host, false),
            Hold::Nothing => return,
        }
        drop(seat);
        self.shared.dispatch(&mut state, now, None);
    }
}
