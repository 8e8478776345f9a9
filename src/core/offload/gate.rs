//! A limit of its own for some of a pool's calls: those of one function, or of one view.
//!
//! Who finds the gate full waits before it, outside the queue of the pool, and so keeps no worker
//! from other calls. Whoever ends lets the next one in.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Call, Queue, Waiting};
use crate::error::{Error, Kind};

/// At most so many calls of a group in the pool at once, queue included.
#[derive(Debug)]
pub struct Gate<J> {
    state: Mutex<State<J>>,
    limit: usize,
    queue_limit: usize,
}

#[derive(Debug)]
struct State<J> {
    inside: usize,
    waiting: Queue<J>,
}

/// What became of a call at the gate.
#[derive(Debug)]
pub enum Entered<J> {
    /// It is inside: to be submitted to the pool.
    Inside(Waiting<J>),
    /// It waits before the gate, in the place of calls that nobody wants any longer.
    Waits(Vec<J>),
    /// Too many wait already.
    Refused(J, Error),
}

impl<J: Call> Gate<J> {
    /// A gate for `limit` calls; `queue_limit` may wait before it.
    #[must_use]
    pub fn new(limit: usize, queue_limit: usize) -> Self {
        let state = State { inside: 0, waiting: Queue::default() };
        Self { state: Mutex::new(state), limit, queue_limit }
    }

    /// A call comes to the gate.
    pub fn enter(&self, waiting: Waiting<J>, priority: i8) -> Entered<J> {
        let mut state = self.lock();
        if state.inside < self.limit {
            state.inside += 1;
            return Entered::Inside(waiting);
        }
        let mut swept = Vec::new();
        if state.waiting.len() >= self.queue_limit {
            swept = state.waiting.sweep();
            if swept.is_empty() {
                let text =
                    format!("{} calls already wait for one of {}", self.queue_limit, self.limit);
                return Entered::Refused(waiting.call, Error::new(Kind::PoolFull, text));
            }
        }
        state.waiting.push(waiting, priority);
        Entered::Waits(swept)
    }

    /// A call has left; gives the one that is let in for it, and those that nobody wants.
    pub fn leave(&self) -> (Option<Waiting<J>>, Vec<J>) {
        let mut unwanted = Vec::new();
        let mut state = self.lock();
        loop {
            match state.waiting.pop() {
                Some(next) if next.call.is_wanted() => return (Some(next), unwanted),
                Some(next) => unwanted.push(next.call),
                None => {
                    state.inside = state.inside.saturating_sub(1);
                    return (None, unwanted);
                }
            }
        }
    }

    /// How many calls may be inside.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many calls wait before the gate.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The calls that wait before the gate, when the pool closes.
    pub fn take_all(&self) -> Vec<J> {
        self.lock().waiting.take_all()
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(offloop_loom)))]
mod tests {
    use super::*;
    use std::time::Instant;

    struct Numbered(u32);

    impl Call for Numbered {
        fn is_wanted(&self) -> bool {
            self.0.is_multiple_of(2)
        }
    }

    fn waiting(number: u32) -> Waiting<Numbered> {
        Waiting { call: Numbered(number), since: Instant::now() }
    }

    #[test]
    fn who_leaves_lets_the_next_wanted_one_in() {
        let gate = Gate::new(1, 10);
        assert!(matches!(gate.enter(waiting(2), 0), Entered::Inside(_)));
        for number in [3, 4, 6] {
            assert!(matches!(gate.enter(waiting(number), 0), Entered::Waits(_)));
        }
        let (next, unwanted) = gate.leave();
        assert_eq!((next.unwrap().call.0, unwanted.len()), (4, 1));
        assert_eq!(gate.leave().0.unwrap().call.0, 6);
        assert!(gate.leave().0.is_none());
        assert!(matches!(gate.enter(waiting(8), 0), Entered::Inside(_)), "the place is free again");
    }

    #[test]
    fn too_many_before_the_gate_are_refused_unless_some_are_not_wanted() {
        let gate = Gate::new(1, 1);
        assert!(matches!(gate.enter(waiting(2), 0), Entered::Inside(_)));
        assert!(matches!(gate.enter(waiting(3), 0), Entered::Waits(_)));
        assert!(matches!(gate.enter(waiting(4), 0), Entered::Waits(swept) if swept.len() == 1));
        let Entered::Refused(call, error) = gate.enter(waiting(6), 0) else { panic!("let in") };
        assert_eq!((call.0, error.kind), (6, Kind::PoolFull));
    }
}
