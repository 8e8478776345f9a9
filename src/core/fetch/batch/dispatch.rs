//! Runs what the schedule lets start, and keeps what came back until it is taken.
//!
//! A lane is a task of the runtime that takes one request after the other, and waits when there is
//! none for it, so a request costs no task of its own. The one
//! lock is a standard one: it is held for some hundred instructions, never across an await, and
//! never while anything is dropped that could want it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use url::Position;

use super::adaptive::Sign;
use super::lane::{Done, Lane, drive};
use super::schedule::HostKey;
use super::slot::{Hold, Seat, Slot};
use super::state::{Entry, Job, State};
use super::turn::Turn;
use super::{Fetched, Item, Outcome};
use crate::fetch::client::Client;
use crate::fetch::keep::Keeper;
use crate::fetch::response::Asked;
use crate::runtime;

/// For so long a thread of the runtime goes on without letting another one run; arbitrary, and
/// as long as one turn of the loop.
const GIVE_WAY: Duration = Duration::from_millis(1);

/// What the owner, the lanes and the keeper of a batch share.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "options that have nothing to do with each other"
)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) exempt: bool,
    pub(super) keeper: Option<Arc<dyn Keeper>>,
    pub(super) limit: usize,
    pub(super) ordered: bool,
    /// The owner sends what may start.
    pub(super) by_owner: bool,
    /// The load of hosts is found out.
    pub(super) adaptive: bool,
    pub(super) state: Mutex<State>,
    /// When a thread of the runtime last let another one run.
    pub(super) gave_way: Mutex<Instant>,
    /// Tells the keeper of an earlier time to wake up at.
    pub(super) earlier: Notify,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn admit(&self, state: &mut State, item: Item, now: Instant) {
        let Item { index, request } = item;
        let number = state.numbers;
        match request {
            Ok(request) if state.is_known(&request) => state.progress.duplicates += 1,
            Ok(request) => {
                state.numbers += 1;
                state.progress.pulled += 1;
                let host = state.schedule.host(&request.url[..Position::BeforePath], now);
                state.schedule.push(host, Entry::New(Job { number, index, request }), now);
            }
            Err(error) => {
                state.numbers += 1;
                state.progress.pulled += 1;
                let fetched = Fetched { index, asked: None, outcome: Outcome::Error(error) };
                state.finish(number, self.ordered, fetched);
            }
        }
    }

    /// Starts what may start; `own` is a lane that is free.
    pub(super) fn dispatch(
        self: &Arc<Self>,
        state: &mut State,
        now: Instant,
        mut own: Option<&mut Option<(HostKey, Job)>>,
    ) {
        // In order the source is held back instead: the one that is due must always start.
        while !state.closed
            && (self.ordered || state.unread() + state.schedule.in_flight < 2 * self.limit)
        {
            match state.schedule.start(now) {
                None => break,
                Some((host, Entry::Back { seat, call })) => {
                    let mut seat = lock(&seat);
                    state.schedule.away(host, false);
                    if seat.hold == Hold::Nothing {
                        state.schedule.leave(host, Sign::Neutral, now, now);
                    } else {
                        *seat = Seat { host, hold: Hold::Place, began: now };
                        let _ = call.send(());
                    }
                }
                Some((host, Entry::New(job))) if self.by_owner => {
                    state.begun.push_back(Turn::new(Arc::clone(self), host, &job, now));
                }
                Some((host, Entry::New(job))) => match own.take() {
                    Some(own) => *own = Some((host, job)),
                    None => self.give_to_lane(state, host, job, now),
                },
            }
        }
        self.set_alarm(state);
        state.notify();
    }

    fn give_to_lane(self: &Arc<Self>, state: &mut State, host: HostKey, job: Job, now: Instant) {
        let idle = state.idle_lanes.pop();
        if let Some(lane) = idle.and_then(|lane| state.lanes.get_mut(lane)) {
            lane.next = Some((host, job));
            lane.waker.take().into_iter().for_each(Waker::wake);
            return;
        }
        let lane = state.lanes.insert(Lane::default());
        let (number, index, asked) = (job.number, job.index, Asked::of(&job.request));
        match runtime::spawn(drive(Arc::clone(self), lane, host, job)) {
            Ok(handle) => {
                if let Some(place) = state.lanes.get_mut(lane) {
                    place.task = Some(handle);
                }
            }
            Err(error) => {
                state.lanes.remove(lane);
                state.schedule.leave(host, Sign::Neutral, now, now);
                let outcome = Outcome::Error(Box::new(error));
                let fetched = Fetched { index, asked: Some(asked), outcome };
                state.finish(number, self.ordered, fetched);
            }
        }
    }

    /// Sees to it that somebody looks again when the next host may be asked.
    fn set_alarm(self: &Arc<Self>, state: &mut State) {
        let Some(time) = state.schedule.next_time() else { return };
        if state.closed || state.keeper_due.is_some_and(|due| due <= time) {
            return;
        }
        state.keeper_due = Some(time);
        if state.keeper.is_some() {
            self.earlier.notify_one();
        } else {
            state.keeper = runtime::spawn(keep_time(Arc::downgrade(self))).ok();
        }
    }

    /// Lets another thread run, if this one has not done so for a while. A runtime that always has
    /// something to do never sleeps, and where it shares a core with the loop the loop's timers
    /// are late by as long as the system lets a busy thread run: 3 to 8 ms on Linux.
    pub(super) fn give_way(&self) {
        let now = Instant::now();
        let mut gave_way = lock(&self.gave_way);
        if now.saturating_duration_since(*gave_way) < GIVE_WAY {
            return;
        }
        *gave_way = now;
        drop(gave_way);
        std::thread::yield_now();
    }

    /// One request has ended; gives the lane, if it was one, its next one.
    pub(super) fn complete(
        self: &Arc<Self>,
        lane: Option<usize>,
        done: Done,
        slot: &Slot,
    ) -> Option<(HostKey, Job)> {
        let now = Instant::now();
        let Done { number, index, asked, outcome, news: (sign, asked_to_wait) } = done;
        let mut next = None;
        let mut state = self.lock();
        {
            let mut seat = lock(&slot.seat);
            let host = seat.host;
            if std::mem::replace(&mut seat.hold, Hold::Nothing) == Hold::Place {
                state.schedule.leave(host, sign, seat.began, now);
            } else {
                state.schedule.away(host, false);
            }
            if let Some(until) = asked_to_wait.and_then(|asked| now.checked_add(asked)) {
                state.schedule.pause(host, until, now);
            }
        }
        if !state.closed {
            let fetched = Fetched { index, asked: Some(asked), outcome };
            state.finish(number, self.ordered, fetched);
        }
        self.dispatch(&mut state, now, lane.is_some().then_some(&mut next));
        if let Some(lane) = lane.filter(|_| next.is_none()) {
            state.idle_lanes.push(lane);
        }
        next
    }

    /// What `lane` is to do next, which had nothing to do; nothing when the batch is closed.
    pub(super) fn poll_next(
        &self,
        lane: usize,
        context: &Context<'_>,
    ) -> Poll<Option<(HostKey, Job)>> {
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        let Some(own) = state.lanes.get_mut(lane) else { return Poll::Ready(None) };
        if let Some(next) = own.next.take() {
            return Poll::Ready(Some(next));
        }
        own.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Wakes up whenever a host may be asked that had to be left alone.
async fn keep_time(shared: Weak<Shared>) {
    loop {
        let Some(batch) = shared.upgrade() else { return };
        let due = {
            let mut state = batch.lock();
            let now = Instant::now();
            if state.keeper_due.is_some_and(|due| due <= now) {
                state.keeper_due = None;
                batch.dispatch(&mut state, now, None);
            }
            let Some(due) = state.keeper_due else {
                state.keeper = None;
                return;
            };
            due
        };
        let mut sleep = pin!(sleep_until(due));
        let mut earlier = pin!(batch.earlier.notified());
        poll_fn(|context| {
            let woken = earlier.as_mut().poll(context).is_ready();
            if woken { Poll::Ready(()) } else { sleep.as_mut().poll(context) }
        })
        .await;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
