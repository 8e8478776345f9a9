//! How many requests one host may have under way when nobody has said: found out by trying.
//!
//! Additive increase, multiplicative decrease, which converges to a fair share whatever the start
//! (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in
//! Computer Networks", 1989), with what TCP learned of it since: it begins with a slow start and
//! cuts once for each burst of bad news (RFC 5681, RFC 6582), smooths latency with 1/8 (RFC 6298),
//! takes a latency that grows for a queue that grows (Brakmo and Peterson, "TCP Vegas", 1995), and
//! learns only while the window is in use (RFC 7661). The lighter cut for latency is that of
//! Netflix's `concurrency-limits` (`AIMDLimit`, 0.9).

use std::time::Duration;

use tokio::time::Instant;

/// Where a window begins; RFC 6928 has ten segments, a host that is unknown gets less.
const FIRST: f64 = 4.0;
/// What a 429, a 503 or a timeout leaves of the window.
const CUT: f64 = 0.5;
/// What a latency that has grown leaves of it.
const TRIM: f64 = 0.9;
/// Latency counts as grown from so many times the best on; TCP Vegas' thought, an arbitrary number.
const GROWN: f64 = 2.0;
/// And by no less than this: below it a scheduler's whim looks like a queue.
const NOISE: f64 = 0.010;
/// How much of the best latency is forgotten with each answer, so that a host may become slower.
const FORGET: f64 = 0.002;

/// What became of one request, as far as its host's load is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// An answer, after so long.
    Fine(Duration),
    /// Too many requests, overloaded, or no answer in time.
    Busy,
    /// Says nothing.
    Neutral,
}

/// The window of one host.
#[derive(Debug)]
pub(super) struct Window {
    size: f64,
    most: f64,
    slow_start: bool,
    /// Seconds; infinite until the first answer.
    best: f64,
    smooth: f64,
    /// Requests that began before are part of the news that has been acted upon.
    cut: Option<Instant>,
}

impl Window {
    /// A window of at most `most` requests.
    pub(super) fn new(most: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests under way")]
        let most = most.max(1) as f64;
        let best = f64::INFINITY;
        Self { size: FIRST.min(most), most, slow_start: true, best, smooth: 0.0, cut: None }
    }

    /// So many requests may be under way.
    pub(super) fn cap(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to most")]
        let cap = self.size as usize;
        cap.max(1)
    }

    /// Learns from a request that began then; `full` says that the window was used up.
    pub(super) fn learn(&mut self, sign: Sign, began: Instant, now: Instant, full: bool) {
        match sign {
            Sign::Neutral => {}
            Sign::Busy => self.shrink(CUT, began, now),
            Sign::Fine(latency) => {
                let seconds = latency.as_secs_f64();
                let first = self.best.is_infinite();
                self.best = (self.best * (1.0 + FORGET)).min(seconds);
                self.smooth = if first { seconds } else { self.smooth * 0.875 + seconds / 8.0 };
                if self.smooth > self.best * GROWN && self.smooth > self.best + NOISE {
                    self.shrink(TRIM, began, now);
                } else if full {
                    let step = if self.slow_start { 1.0 } else { self.size.recip() };
                    self.size = (self.size + step).min(self.most);
                }
            }
        }
    }

    fn shrink(&mut self, factor: f64, began: Instant, now: Instant) {
        if self.cut.is_some_and(|cut| began < cut) {
            return;
        }
        self.cut = Some(now);
        self.slow_start = false;
        self.size = (self.size * factor).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A host with `places` places: more than that at once wait for each other.
    fn settle(window: &mut Window, places: u32, refuses: bool, rounds: u32) -> (usize, usize) {
        let mut now = Instant::now();
        let (mut least, mut most) = (usize::MAX, 0);
        for round in 0..rounds {
            let (began, sent) = (now, u32::try_from(window.cap()).unwrap());
            let queue = sent.div_ceil(places);
            now += 20 * MS * queue;
            for nth in 0..sent {
                let sign = if refuses && nth >= places {
                    Sign::Busy
                } else {
                    Sign::Fine(20 * MS * (1 + nth / places))
                };
                window.learn(sign, began, now, true);
            }
            if round > rounds / 2 {
                (least, most) = (least.min(window.cap()), most.max(window.cap()));
            }
        }
        (least, most)
    }

    #[test]
    fn a_host_that_keeps_up_gets_all_there_is() {
        let mut window = Window::new(64);
        assert_eq!(settle(&mut window, 1000, false, 20), (64, 64));
    }

    #[test]
    fn a_host_that_refuses_gets_about_what_it_takes() {
        let mut window = Window::new(256);
        let (least, most) = settle(&mut window, 16, true, 400);
        assert!(least >= 8 && most <= 18, "{least} to {most}");
    }

    #[test]
    fn a_host_that_becomes_slow_is_not_pressed_further() {
        let mut window = Window::new(256);
        let (least, most) = settle(&mut window, 16, false, 400);
        assert!(least >= 8 && most <= 64, "{least} to {most}");
    }

    #[test]
    fn one_burst_of_bad_news_cuts_once() {
        let mut window = Window::new(64);
        settle(&mut window, 1000, false, 20);
        let (began, now) = (Instant::now(), Instant::now() + MS);
        for _ in 0..64 {
            window.learn(Sign::Busy, began, now, true);
        }
        assert_eq!(window.cap(), 32);
        window.learn(Sign::Busy, now + MS, now + 2 * MS, true);
        assert_eq!(window.cap(), 16);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut window = Window::new(64);
        for _ in 0..100 {
            window.learn(Sign::Fine(MS), Instant::now(), Instant::now(), false);
        }
        assert_eq!(window.cap(), 4);
    }
}
