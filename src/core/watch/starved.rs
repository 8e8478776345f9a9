//! Whether a thread waits for a processor. The system counts such a wait when it is over; until then
//! all there is to see is a thread that is ready to run, and whose times stand still.

use super::thread::Times;

/// A thread at work is counted at each tick of the system's clock, every 10 ms at the latest. One
/// that was ready to run for so long, and was counted neither as running nor as waiting, waits.
const TICK: u64 = 10_000_000;

/// What the looks at one thread have seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Starved {
    /// Its times, and since when it has been ready to run at every look, with just these.
    still: Option<(Times, u64)>,
}

impl Starved {
    /// One look, at `at`: `ready` is a thread that runs, or waits for a processor.
    pub(super) fn look(&mut self, at: u64, times: Times, ready: bool) {
        match self.still {
            _ if !ready => self.still = None,
            Some((known, _)) if known == times => {}
            _ => self.still = Some((times, at)),
        }
    }

    /// How long it has waited by `at` without having been counted, as far as the looks tell;
    /// `times` are those of `at`.
    pub(super) fn waits(&self, at: u64, times: Times) -> u64 {
        let Some((known, since)) = self.still else { return 0 };
        let waited = at.saturating_sub(since);
        // Where the system counts nothing, nothing can be told.
        let tells = known == times && times.ran > 0 && waited >= TICK;
        if tells { waited } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn times(ran: u64, waited: u64) -> Times {
        Times { ran: ran * MS, waited: waited * MS }
    }

    #[test]
    fn ready_with_times_that_stand_still_is_a_wait() {
        let mut thread = Starved::default();
        for at in [0, 10, 20] {
            thread.look(at * MS, times(7, 3), true);
        }
        assert_eq!(thread.waits(5 * MS, times(7, 3)), 0, "shorter than a tick");
        assert_eq!(thread.waits(150 * MS, times(7, 3)), 150 * MS);
    }

    #[test]
    fn what_is_counted_meanwhile_is_no_wait_any_more() {
        let mut thread = Starved::default();
        thread.look(0, times(7, 3), true);
        assert_eq!(thread.waits(150 * MS, times(7, 153)), 0, "it runs, and its wait is counted");
        assert_eq!(thread.waits(150 * MS, times(8, 3)), 0, "it ran");
        thread.look(150 * MS, times(7, 153), true);
        assert_eq!(thread.waits(155 * MS, times(7, 153)), 0);
    }

    #[test]
    fn what_waits_in_a_call_does_not_wait_for_a_processor() {
        let mut thread = Starved::default();
        thread.look(0, times(7, 3), true);
        thread.look(10 * MS, times(7, 3), false);
        assert_eq!(thread.waits(20 * MS, times(7, 3)), 0);
        thread.look(100 * MS, times(7, 3), true);
        assert_eq!(thread.waits(120 * MS, times(7, 3)), 20 * MS, "since it was ready again");
    }

    #[test]
    fn nothing_is_told_where_nothing_is_counted() {
        let mut thread = Starved::default();
        thread.look(0, times(0, 0), true);
        assert_eq!(thread.waits(150 * MS, times(0, 0)), 0);
    }

    /// A thread on a busy machine, as the system counts it: by ticks while it runs, at the end while
    /// it waits. Looks at it come every 10 ms.
    #[test]
    fn a_wait_is_never_taken_for_work_nor_work_for_a_wait() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for tick in [1, 4, 10] {
            let mut thread = Starved::default();
            let (mut ran, mut waited) = (1, 0); // what is counted
            let (mut worked, mut pending, mut running, mut left) = (0, 0, true, 0);
            for at in 0..200_000_u64 {
                if left == 0 {
                    running = !running;
                    left = 1 + random(if running { 40 } else { 300 });
                    (ran, waited) = (1 + worked, waited + pending);
                    pending = 0;
                }
                left -= 1;
                if running {
                    worked += 1;
                } else {
                    pending += 1;
                }
                if running && at % tick == 0 {
                    ran = 1 + worked;
                }
                let now = times(ran, waited);
                if at % 10 == 0 {
                    thread.look(at * MS, now, true);
                }
                let told = thread.waits(at * MS, now) / MS;
                if running {
                    assert_eq!(told, 0, "at {at} it has run for a while, with ticks of {tick}");
                } else {
                    let slack = pending.saturating_sub(told);
                    assert!(told <= pending && slack < 20, "at {at}: {told} of {pending}");
                }
            }
        }
    }
}
