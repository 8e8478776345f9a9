//! In which order calls are taken: by priority, but nobody waits for ever.
//!
//! A step of priority is worth one second of waiting: a call of priority 3 goes before those of
//! priority 0 that have waited for less than three seconds more. So calls of one priority are
//! taken in the order in which they came, and each level is a list; there are few levels, and
//! with one of them, the usual case, nothing is compared.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Call;

/// What one step of priority is worth. Arbitrary: long against a call that waits for a database,
/// short against a person who waits.
const STEP: Duration = Duration::from_secs(1);

/// A call that waits, and since when.
#[derive(Debug)]
pub struct Waiting<J> {
    /// The call.
    pub call: J,
    /// When it began to wait.
    pub since: Instant,
}

/// Calls in the order in which they will be taken.
#[derive(Debug)]
pub struct Queue<J> {
    /// None is empty, except that the last one stays.
    levels: Vec<Level<J>>,
    len: usize,
}

#[derive(Debug)]
struct Level<J> {
    priority: i8,
    calls: VecDeque<Waiting<J>>,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self { levels: Vec::new(), len: 0 }
    }
}

impl<J> Level<J> {
    /// The moment by which levels are compared: a higher priority came so much earlier.
    fn due(&self) -> Option<Instant> {
        let handicap = STEP * u32::from(i8::MAX.abs_diff(self.priority));
        Some(self.calls.front()?.since + handicap)
    }
}

impl<J> Queue<J> {
    /// How many calls wait, wanted or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no call waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a call behind those of its priority.
    pub fn push(&mut self, waiting: Waiting<J>, priority: i8) {
        self.len += 1;
        if let Some(level) = self.levels.iter_mut().find(|level| level.priority == priority) {
            level.calls.push_back(waiting);
            return;
        }
        self.levels.retain(|level| !level.calls.is_empty());
        self.levels.push(Level { priority, calls: VecDeque::from([waiting]) });
    }

    /// Takes the call whose turn it is.
    pub fn pop(&mut self) -> Option<Waiting<J>> {
        let level = match self.levels.as_mut_slice() {
            [only] => only,
            several => several
                .iter_mut()
                .filter(|level| !level.calls.is_empty())
                .min_by_key(|level| level.due())?,
        };
        let waiting = level.calls.pop_front()?;
        self.len -= 1;
        Some(waiting)
    }

    /// Takes out the calls that nobody waits for any longer.
    pub fn sweep(&mut self) -> Vec<J>
    where
        J: Call,
    {
        let mut swept = Vec::new();
        for level in &mut self.levels {
            if level.calls.iter().all(|waiting| waiting.call.is_wanted()) {
                continue;
            }
            let calls = std::mem::take(&mut level.calls);
            for waiting in calls {
                if waiting.call.is_wanted() {
                    level.calls.push_back(waiting);
                } else {
                    swept.push(waiting.call);
                }
            }
        }
        self.len -= swept.len();
        swept
    }

    /// Takes everything out, in no order that matters.
    pub fn take_all(&mut self) -> Vec<J> {
        self.len = 0;
        let levels = std::mem::take(&mut self.levels);
        levels.into_iter().flat_map(|level| level.calls).map(|waiting| waiting.call).collect()
    }
}

#[cfg(all(test, not(offloop_loom)))]
mod tests {
    use super::*;

    struct Numbered(u32);

    impl Call for Numbered {
        fn is_wanted(&self) -> bool {
            self.0.is_multiple_of(2)
        }
    }

    fn queue(calls: &[(u32, i8, u64)]) -> Queue<Numbered> {
        let start = Instant::now();
        let mut queue = Queue::default();
        for (number, priority, second) in calls {
            let since = start + Duration::from_secs(*second);
            queue.push(Waiting { call: Numbered(*number), since }, *priority);
        }
        queue
    }

    fn order(mut queue: Queue<Numbered>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).map(|waiting| waiting.call.0).collect()
    }

    #[test]
    fn calls_of_one_priority_are_taken_as_they_came() {
        assert_eq!(order(queue(&[(1, 0, 0), (2, 0, 0), (3, 0, 1)])), [1, 2, 3]);
    }

    #[test]
    fn a_higher_priority_goes_first() {
        assert_eq!(order(queue(&[(1, 0, 0), (2, 5, 0), (3, -5, 0), (4, 5, 1)])), [2, 4, 1, 3]);
    }

    #[test]
    fn who_has_waited_long_enough_goes_before_a_higher_priority() {
        assert_eq!(order(queue(&[(1, 0, 0), (2, 10, 9)])), [2, 1]);
        assert_eq!(order(queue(&[(1, 0, 0), (2, 10, 11)])), [1, 2]);
    }

    #[test]
    fn the_extremes_of_priority_do_not_overflow() {
        assert_eq!(order(queue(&[(1, i8::MIN, 0), (2, i8::MAX, 0)])), [2, 1]);
    }

    #[test]
    fn sweeping_takes_what_is_not_wanted_and_keeps_the_order() {
        let mut queue = queue(&[(1, 0, 0), (2, 0, 0), (3, 7, 0), (4, 0, 0)]);
        let swept: Vec<_> = queue.sweep().into_iter().map(|call| call.0).collect();
        assert_eq!(swept, [1, 3]);
        assert_eq!(queue.len(), 2);
        assert_eq!(order(queue), [2, 4]);
    }
}
