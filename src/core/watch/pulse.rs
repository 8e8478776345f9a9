//! Notices that the whole process did not run: stopped by a signal or a debugger, or asleep with
//! its machine. The watcher's thread feels its own pulse at every turn; a beat that comes far too
//! late, and not for want of a processor, was a pause.

use super::beat::now;
use super::report::Pause;
use super::thread::{Thread, current_thread};
use super::watcher::Shared;

/// How late a beat may be. A dump, the longest thing done between two, takes 60 ms at most.
const LATE: u64 = 80_000_000;

/// How old the last reading of the waits for a processor may be: reading them at every beat was most
/// of what a watch reads. Waits of this time count for the beat that is late, too.
const READING: u64 = 100_000_000;

/// The watcher's own pulse.
pub(super) struct Pulse {
    own: Option<Thread>,
    last: u64,
    /// How long this thread had waited for a processor at the last reading, and when that was.
    waited: u64,
    read: u64,
    /// All pauses so far.
    paused: u64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let own = current_thread().map(Thread::open);
        let waited = own.as_ref().map_or(0, |own| own.times().waited);
        let at = now();
        Self { own, last: at, waited, read: at, paused: 0 }
    }

    /// One beat, which was to come at `due` at the latest; gives the time.
    pub(super) fn feel(&mut self, shared: &Shared, due: u64) -> u64 {
        let at = now();
        // Nothing was due before the last beat; what had no date was due at once.
        let due = if due > at { self.last.max(at) } else { due.max(self.last) };
        let late = at.saturating_sub(due);
        self.last = at;
        if late <= LATE && at.saturating_sub(self.read) < READING {
            return at;
        }
        let waited = self.own.as_ref().map_or(0, |own| own.times().waited);
        let starved = waited.saturating_sub(self.waited);
        let lasted = late.saturating_sub(starved);
        if lasted > LATE {
            self.paused += lasted;
            shared.report().add_pause(Pause { ended: at, lasted });
        }
        (self.waited, self.read) = (waited, at);
        at
    }

    /// All pauses so far, in nanoseconds.
    pub(super) fn paused(&self) -> u64 {
        self.paused
    }
}
