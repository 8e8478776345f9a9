//! So many requests per second: one host's rate, as a line in which everybody takes a turn.
//!
//! Those who wait stand in the line of a fair lock, and only the first of them looks at the clock.
//! Nothing is reserved: a turn is taken in the moment it comes. So whoever leaves the line, first
//! or not, leaves no gap, and those behind move up; there is nothing to give back. The sum behind
//! it is the generic cell rate algorithm (ITU-T I.371), a token bucket kept as a single time.
//!
//! A timer wakes late, by a millisecond and more. Counted from then on, each turn would push all
//! later ones back, and a rate of 500 would come out as 250; so a turn counts from when it could
//! have been taken, if that is no longer ago than [`LATENESS`].
//!
//! The law: in any time `t` there are at most `per_second * (t + LATENESS) + burst` turns.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// How late a turn may be taken and still count as in time; a few ticks of tokio's timer, which
/// are a millisecond. A process that stands still for longer does not make up for it with a burst.
const LATENESS: Duration = Duration::from_millis(5);

/// The longest interval: arbitrary, nobody waits for it, and no sum of times overflows.
const AGES: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A rate that is kept by all who take turns.
#[derive(Debug)]
pub struct Rate {
    /// What one turn takes.
    interval: Duration,
    /// How far ahead of its time a turn may be taken: the burst, without its last.
    ahead: Duration,
    /// When the next turn is due. tokio's lock, because it is fair and held while the first waits.
    next: Mutex<Instant>,
}

impl Rate {
    /// At most `per_second` turns in a second, `burst` of them at once after a pause. Zero, less,
    /// and what is no number let the first burst pass and then nobody.
    #[must_use]
    pub fn new(per_second: f64, burst: u32) -> Self {
        let seconds = if per_second > 0.0 { per_second.recip() } else { f64::INFINITY };
        let interval = Duration::try_from_secs_f64(seconds).unwrap_or(AGES).min(AGES);
        let ahead = interval.saturating_mul(burst.saturating_sub(1)).min(AGES);
        Self { interval, ahead, next: Mutex::new(Instant::now()) }
    }

    /// The time between two turns.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Waits for one's turn: first come, first served. May be dropped at any moment, and has then
    /// taken none.
    pub async fn turn(&self) {
        let arrived = Instant::now();
        let mut next = self.next.lock().await;
        while let Err(due) = self.take(&mut next, arrived, Instant::now()) {
            sleep_until(due).await;
        }
    }

    /// Takes the turn of somebody who `arrived` then and is the first in line `now`, or says when
    /// it is due; for those who keep a line, and `next` with it, of their own.
    ///
    /// # Errors
    /// When the turn is due.
    pub fn take(&self, next: &mut Instant, arrived: Instant, now: Instant) -> Result<(), Instant> {
        let due = next.checked_sub(self.ahead).unwrap_or(now);
        if now < due {
            return Err(due);
        }
        let earliest = arrived.max(now.checked_sub(LATENESS).unwrap_or(now));
        *next = earliest.max(*next) + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::{advance, timeout};

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_an_interval_apart() {
        let (rate, began) = (Rate::new(10.0, 1), Instant::now());
        for nth in 0..20 {
            rate.turn().await;
            assert_eq!(began.elapsed(), seconds(f64::from(nth) / 10.0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_earns_a_burst_and_no_more() {
        let rate = Rate::new(10.0, 3);
        for _ in 0..3 {
            let began = Instant::now();
            for nth in 0..6 {
                rate.turn().await;
                assert_eq!(began.elapsed(), seconds(f64::from((nth - 2).max(0)) / 10.0));
            }
            advance(seconds(1e5)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_taken_in_the_order_of_arrival_and_those_who_leave_burn_none() {
        let (rate, began) = (Arc::new(Rate::new(1.0, 1)), Instant::now());
        rate.turn().await;
        let (send, mut taken) = tokio::sync::mpsc::unbounded_channel();
        let (mut tasks, mut line) = (tokio::task::JoinSet::new(), Vec::new());
        for nth in 0..6 {
            let (rate, send) = (Arc::clone(&rate), send.clone());
            line.push(tasks.spawn(async move {
                rate.turn().await;
                send.send((nth, began.elapsed().as_secs())).unwrap();
            }));
            tokio::task::yield_now().await;
        }
        drop(send);
        advance(seconds(0.9)).await;
        for leaver in [0, 2, 3] {
            line[leaver].abort();
        }
        let mut turns = Vec::new();
        while let Some(turn) = taken.recv().await {
            turns.push(turn);
        }
        assert_eq!(turns, [(1, 1), (4, 2), (5, 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_is_no_rate_lets_nobody_pass_after_the_first() {
        for odd in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-300] {
            let rate = Rate::new(odd, 1);
            rate.turn().await;
            assert!(timeout(seconds(1e6), rate.turn()).await.is_err(), "{odd}");
        }
        let endless = Rate::new(f64::INFINITY, 0);
        let rate = Rate::new(1e-9, u32::MAX);
        let began = Instant::now();
        for _ in 0..1000 {
            endless.turn().await;
        }
        rate.turn().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    /// A line of any length, whose first is woken up to 4 ms late and now and then much later.
    #[test]
    fn no_window_has_more_turns_than_the_law_allows() {
        let mut state = 7_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for (per_second, burst) in [(0.5, 1), (3.0, 4), (50.0, 1), (500.0, 1), (900.0, 20)] {
            let rate = Rate::new(per_second, burst);
            let (began, mut next) = (Instant::now(), Instant::now());
            let (mut now, mut arrived, mut turns) = (began, began, Vec::new());
            while turns.len() < 2000 {
                match rate.take(&mut next, arrived, now) {
                    Ok(()) => {
                        turns.push((now - began).as_secs_f64());
                        if random(20) == 0 {
                            now += seconds(f64::from(random(2 * burst + 4)) / per_second);
                            arrived = now;
                        }
                    }
                    Err(due) => {
                        assert!(due > now);
                        now = due + Duration::from_micros(u64::from(random(4000)));
                        if random(50) == 0 {
                            now += seconds(f64::from(random(30)) / per_second);
                        }
                    }
                }
            }
            for (first, &from) in turns.iter().enumerate() {
                for (count, &until) in (1_u32..).zip(&turns[first..]) {
                    let time = until - from + LATENESS.as_secs_f64() + 1e-6;
                    let most = per_second * time + f64::from(burst);
                    assert!(f64::from(count) <= most, "{per_second} {burst}: {count} in {time}");
                }
            }
        }
    }

    #[test]
    fn a_late_timer_does_not_lower_the_rate() {
        let rate = Rate::new(1000.0, 1);
        let (began, mut next) = (Instant::now(), Instant::now());
        let (mut now, mut turns) = (began, 0);
        while now < began + seconds(10.0) {
            match rate.take(&mut next, began, now) {
                Ok(()) => turns += 1,
                Err(due) => now = due + Duration::from_millis(2),
            }
        }
        assert!((9_990..=10_006).contains(&turns), "{turns}");
    }
}
