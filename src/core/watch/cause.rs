//! What follows from the evidence: why the loop did not come round. Pure decisions, no clock.
//!
//! The order of the questions is the rule: what explains a stall whatever the thread seems to do
//! (a collection, an import, callbacks that do move on) comes first, what the system shows of the
//! thread comes next, and what can only be told by who gets Python's lock comes last.

use super::calls;
use super::evidence::Evidence;

/// Why a loop did not come round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Waits in a system call, mostly this one.
    SystemCall(Option<&'static str>),
    /// Python code computes.
    Python,
    /// Native code computes; `true` when it keeps Python's lock meanwhile.
    Native(bool),
    /// Another thread keeps Python's lock; its number, if one stands out.
    Gil(Option<u32>),
    /// The garbage collector runs.
    Garbage,
    /// A module is being imported.
    Import,
    /// Many callbacks, none of which takes long.
    Callbacks,
    /// Memory comes back from disk.
    PageFaults,
    /// The process was stopped, or the machine slept.
    Paused,
}

impl Cause {
    /// Its name in logs and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SystemCall(_) => "system_call",
            Self::Python => "python",
            Self::Native(_) => "native",
            Self::Gil(_) => "gil",
            Self::Garbage => "gc",
            Self::Import => "import",
            Self::Callbacks => "callbacks",
            Self::PageFaults => "page_faults",
            Self::Paused => "paused",
        }
    }
}

/// From this many major faults on, a stall is about memory: fewer are a library being loaded.
const FAULTS: u64 = 16;
/// A thread that gets Python's lock sooner than this was not refused it: CPython makes one who
/// asks a running thread wait for its switch interval, 5 ms unless changed.
const GIVEN: u64 = 2_000_000;
/// One that has waited for longer than this, three switch intervals and a pause for breath, is
/// up against native code.
const REFUSED: u64 = 20_000_000;

/// The most likely cause.
pub(super) fn decide(evidence: &Evidence) -> Cause {
    let lasted = evidence.lasted.max(1);
    let most = |ticks: u32| ticks > 0 && ticks * 2 >= evidence.ticks;
    if evidence.garbage * 2 >= evidence.elapsed.max(1) {
        return Cause::Garbage;
    }
    if evidence.moves_on() {
        return Cause::Callbacks;
    }
    if evidence.imports() {
        return Cause::Import;
    }
    if evidence.major_faults >= FAULTS && evidence.faults * 4 >= evidence.ticks {
        return Cause::PageFaults;
    }
    if most(evidence.lock_waits) {
        return Cause::Gil(evidence.busiest);
    }
    let in_calls: u32 = evidence.calls.iter().map(|(_, ticks)| ticks).sum();
    if most(in_calls) && evidence.ran * 2 < lasted {
        let longest = evidence.calls.iter().max_by_key(|(_, ticks)| *ticks);
        return Cause::SystemCall(longest.and_then(|(number, _)| calls::name(*number)));
    }
    if let Some(longest) = evidence.delays.iter().max() {
        // Most of a third: a look is taken at half the threshold, and a busy machine makes
        // everybody wait.
        let refused = *longest >= REFUSED && *longest * 3 >= lasted;
        if evidence.stacks_differ() || (*longest >= GIVEN && !refused) {
            return Cause::Python;
        }
        return Cause::Native(refused);
    }
    if evidence.refused >= REFUSED || !evidence.stacks_differ() {
        return Cause::Native(true);
    }
    Cause::Python
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Look;
    use crate::watch::stack::Frame;

    const MILLISECOND: u64 = 1_000_000;

    fn evidence() -> Evidence {
        let lasted = 300 * MILLISECOND;
        Evidence { lasted, elapsed: lasted, ticks: 10, ran: lasted, ..Evidence::default() }
    }

    fn look(identity: u64, ready: u64) -> Look {
        Look { identity, ready: Some(ready), ..Look::default() }
    }

    #[test]
    fn a_thread_that_sleeps_in_a_call_is_blocked_by_it() {
        let evidence = Evidence { ran: 0, calls: vec![(9_999, 9)], ..evidence() };
        assert_eq!(decide(&evidence), Cause::SystemCall(None));
    }

    #[test]
    fn who_gets_the_lock_tells_python_from_native_code() {
        let with = |delay: u64| Evidence { delays: vec![delay * MILLISECOND], ..evidence() };
        assert_eq!(decide(&with(0)), Cause::Native(false), "the lock was free");
        assert_eq!(decide(&with(6)), Cause::Python, "it was given up when asked for");
        assert_eq!(decide(&with(240)), Cause::Native(true), "it was not");
        let vain = Evidence { refused: 240 * MILLISECOND, ..evidence() };
        assert_eq!(decide(&vain), Cause::Native(true));
    }

    #[test]
    fn a_loop_that_goes_from_callback_to_callback_is_crowded_not_blocked() {
        let mut crowded = evidence();
        (0..4).for_each(|number| crowded.add_look(look(7 + number, 100 - number)));
        assert_eq!(decide(&crowded), Cause::Callbacks);
        let mut blocked = Evidence { delays: vec![5 * MILLISECOND], ..evidence() };
        (0..4).for_each(|_| blocked.add_look(look(7, 100)));
        assert_eq!(decide(&blocked), Cause::Python);
        blocked.looks.insert(0, (6, Some(101)));
        assert_eq!(decide(&blocked), Cause::Python, "one step at the beginning");
    }

    #[test]
    fn others_and_the_collector_are_told_apart() {
        let gil = Evidence { lock_waits: 8, busiest: Some(7), ..evidence() };
        assert_eq!(decide(&gil), Cause::Gil(Some(7)));
        let garbage = Evidence { garbage: 200 * MILLISECOND, ..evidence() };
        assert_eq!(decide(&garbage), Cause::Garbage);
        let faults = Evidence { major_faults: 100, faults: 5, ran: 0, ..evidence() };
        assert_eq!(decide(&faults), Cause::PageFaults);
        let frame = |file: &str| Frame { file: file.into(), line: 1, function: "f".into() };
        let mut import = evidence();
        import.add_stack([frame("/a.py"), frame("<frozen importlib._bootstrap>")].into());
        assert_eq!(decide(&import), Cause::Import);
    }
}
