//! The threads that work on files: one does the work while it flows, more step in when it stalls.
//!
//! Most operations on files take some microseconds, because the kernel has it all in memory; some
//! take milliseconds, and one on a pipe without a writer takes forever. Nobody can tell before.
//! A thread for each would make a switch of threads of each (2,000 reads of 4 KiB: three times
//! the price of the reads). So one thread takes jobs one after the other, and another stands by:
//! when nothing has been taken for [`STALL`], the one at work is blocked, and the one who stood by
//! steps in and leaves somebody else standing by, up to the limit.
//!
//! A job gives back a bell that is to be rung; bells wait for each other while jobs follow, so
//! that a burst wakes the event loop once. They lie where the one who stands by finds them.
//!
//! Laws: while a job waits or a bell lies, a thread that is not blocked in a job will look after
//! it within `STALL`, unless the limit of threads is reached and all are blocked. A bell lies
//! only while somebody stands by. Never touches Python.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, available_parallelism};
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::runtime;

/// How long nothing must have been taken before another thread steps in. Arbitrary: a hundred
/// times a read from memory, and a tenth of a seek of a disk.
const STALL: Duration = Duration::from_micros(500);
/// How long a thread waits for work before it ends; the same as other threads of this crate.
const IDLE: Duration = Duration::from_secs(10);
/// The most jobs that wait: as many as a gather may well have, and some 200 MB.
const QUEUE: usize = 1_000_000;
/// With so many waiting for each thread at work, another one is worth its wake-up, if the machine
/// has a core for it. Arbitrary.
const CROWD: usize = 16;
/// The most completions that wait for company before the bells ring; as many as the bridge has
/// leave together.
const BATCH: usize = 32;

/// A piece of work; what it gives is dropped when it is time to ring.
pub type Job<B> = Box<dyn FnOnce() -> Option<B> + Send>;

/// The threads of one lane, and the jobs that wait for them.
pub struct Lane<B> {
    limit: usize,
    /// So many may be at work without anybody being blocked: the loop's thread wants a core, too.
    base: usize,
    shared: Arc<Shared<B>>,
}

struct Shared<B> {
    state: Mutex<State<B>>,
    /// Wakes threads that have nothing to do.
    wanted: Condvar,
    /// What the one who stands by sleeps on; nobody ever signals it.
    pace: Condvar,
    limit: usize,
}

struct State<B> {
    jobs: VecDeque<Job<B>>,
    /// To be rung, and of how many completions.
    bells: Vec<B>,
    completions: usize,
    /// How many jobs have ever been taken: what progress is measured by.
    taken: u64,
    threads: usize,
    idle: usize,
    /// Threads at work, and those that have been called to work and are on their way.
    working: usize,
    called: usize,
    /// How many of those at work have not come back since somebody stepped in: those whose job
    /// has a number up to `mark`. Nobody waits for them.
    stalled: usize,
    mark: u64,
    /// Somebody stands by, or has been called to.
    standby: Standby,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standby {
    Nobody,
    Called,
    There,
}

/// What a thread does next.
enum Role {
    Work,
    StandBy,
    Rest,
    Leave,
}

impl<B: Send + 'static> Lane<B> {
    /// At most `limit` threads; none of them exists yet.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let state = State {
            jobs: VecDeque::new(),
            bells: Vec::new(),
            completions: 0,
            taken: 0,
            threads: 0,
            idle: 0,
            working: 0,
            called: 0,
            stalled: 0,
            mark: 0,
            standby: Standby::Nobody,
        };
        let (wanted, pace) = (Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { state: Mutex::new(state), wanted, pace, limit });
        Self { limit, base: cores.saturating_sub(1).max(1), shared }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// `PoolFull` when a million jobs wait, `Resources` when the system refuses the only thread,
    /// `Forked` in a child process.
    pub fn submit(&self, job: Job<B>) -> Result<(), Error> {
        // First of all: a forked child may have inherited a lock that nobody will ever open.
        runtime::check_alive()?;
        let mut state = self.shared.lock();
        if state.jobs.len() >= QUEUE {
            let text = format!("{QUEUE} operations on files already wait for a thread");
            return Err(Error::new(Kind::PoolFull, text));
        }
        state.jobs.push_back(job);
        let active = state.working.saturating_sub(state.stalled) + state.called;
        if active == 0 || (active < self.base && state.jobs.len() > CROWD * active) {
            state.called += 1;
            if let Err(error) = self.shared.call(&mut state) {
                state.called -= 1;
                if state.threads == 0 {
                    let job = state.jobs.pop_back();
                    drop(state);
                    drop(job);
                    let what = "cannot start a thread for files";
                    return Err(Error::system(Kind::Resources, what, &error));
                }
                // The threads that exist will get to it.
            }
        } else {
            self.shared.have_standby(&mut state);
        }
        Ok(())
    }

    /// Whether threads exist: a forked child would miss them.
    #[must_use]
    pub fn has_threads(&self) -> bool {
        self.shared.lock().threads > 0
    }
}

impl<B: Send + 'static> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a thread that has nothing to do, or starts one; it finds its role by itself.
    fn call(self: &Arc<Self>, state: &mut State<B>) -> std::io::Result<()> {
        let on_their_way = state.called + usize::from(state.standby == Standby::Called);
        if state.idle >= on_their_way {
            self.wanted.notify_one();
            return Ok(());
        }
        if state.threads >= self.limit {
            return Err(std::io::Error::from(std::io::ErrorKind::WouldBlock));
        }
        let shared = Arc::clone(self);
        Builder::new().name("offloop-files".into()).spawn(move || shared.serve())?;
        state.threads += 1;
        Ok(())
    }

    /// Has somebody stand by, if there is anybody left.
    fn have_standby(self: &Arc<Self>, state: &mut State<B>) {
        if state.standby == Standby::Nobody {
            state.standby = Standby::Called;
            if self.call(state).is_err() {
                state.standby = Standby::Nobody;
            }
        }
    }

    /// What each thread does until it has been idle for long enough.
    fn serve(self: &Arc<Self>) {
        let mut state = self.lock();
        let mut role = Role::Rest;
        loop {
            (state, role) = match role {
                Role::Work => (self.work(state), Role::Rest),
                Role::StandBy => self.stand_by(state),
                Role::Rest => self.rest(state),
                Role::Leave => {
                    state.threads -= 1;
                    return;
                }
            };
        }
    }

    /// Takes jobs until none is left.
    fn work<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State<B>>,
    ) -> MutexGuard<'a, State<B>> {
        state.working += 1;
        while let Some(job) = state.jobs.pop_front() {
            state.taken += 1;
            let number = state.taken;
            if !state.jobs.is_empty() {
                self.have_standby(&mut state);
            }
            if state.standby == Standby::Nobody {
                // Nobody would ring if this job blocked.
                state = self.ring(state);
            }
            drop(state);
            // The job catches its own panics; this catches those of what it drops.
            let bell = catch_unwind(AssertUnwindSafe(job)).unwrap_or(None);
            state = self.lock();
            if number <= state.mark {
                state.stalled = state.stalled.saturating_sub(1);
            }
            state.bells.extend(bell);
            state.completions += 1;
            if state.jobs.is_empty() || state.completions >= BATCH {
                state = self.ring(state);
            }
        }
        state.working -= 1;
        state
    }

    fn ring<'a>(&'a self, mut state: MutexGuard<'a, State<B>>) -> MutexGuard<'a, State<B>> {
        state.completions = 0;
        if state.bells.is_empty() {
            return state;
        }
        let bells = std::mem::take(&mut state.bells);
        drop(state);
        drop(bells);
        self.lock()
    }

    /// Watches whether the work flows, and steps in when it does not.
    fn stand_by<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State<B>>,
    ) -> (MutexGuard<'a, State<B>>, Role) {
        state.standby = Standby::There;
        loop {
            let taken = state.taken;
            let waited = self.pace.wait_timeout(state, STALL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.taken == taken {
                // Anybody at work is in the same job as before.
                (state.stalled, state.mark) = (state.working, state.taken);
                state = self.ring(state);
                state.standby = Standby::Nobody;
                let role = if state.jobs.is_empty() { Role::Rest } else { Role::Work };
                return (state, role);
            }
        }
    }

    /// Sleeps until it is called.
    fn rest<'a>(&self, mut state: MutexGuard<'a, State<B>>) -> (MutexGuard<'a, State<B>>, Role) {
        let mut waited_enough = false;
        loop {
            if state.called > 0 {
                state.called -= 1;
                return (state, Role::Work);
            }
            if state.standby == Standby::Called {
                return (state, Role::StandBy);
            }
            if waited_enough {
                return (state, Role::Leave);
            }
            state.idle += 1;
            let waited = self.wanted.wait_timeout(state, IDLE);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            waited_enough = timeout.timed_out();
        }
    }
}

impl<B> fmt::Debug for Lane<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Instant;

    const SOON: Duration = Duration::from_secs(20);

    struct Ring(mpsc::Sender<usize>, usize);

    impl Drop for Ring {
        fn drop(&mut self) {
            let _ = self.0.send(self.1);
        }
    }

    #[test]
    fn all_jobs_are_done_and_all_bells_are_rung() {
        let lane = Lane::new(4);
        let (sender, rung) = mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        for number in 0..1000 {
            let (sender, done) = (sender.clone(), Arc::clone(&done));
            let job = move || {
                done.fetch_add(1, Ordering::SeqCst);
                Some(Ring(sender, number))
            };
            lane.submit(Box::new(job)).unwrap();
        }
        let mut seen: Vec<_> = (0..1000).map(|_| rung.recv_timeout(SOON).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        assert_eq!(done.load(Ordering::SeqCst), 1000);
    }

    /// As many jobs block as there may be threads but one: the last one does all that follows.
    #[test]
    fn blocked_jobs_hold_nobody_up() {
        let lane = Lane::new(4);
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let (sender, rung) = mpsc::channel();
        for _ in 0..3 {
            let gate = Arc::clone(&gate);
            let job = move || {
                let _ = gate.lock().map(|gate| gate.recv());
                None
            };
            lane.submit(Box::new(job)).unwrap();
        }
        let mut slowest = Duration::ZERO;
        for number in 0..100 {
            let (sender, began) = (sender.clone(), Instant::now());
            lane.submit(Box::new(move || Some(Ring(sender, number)))).unwrap();
            assert_eq!(rung.recv_timeout(SOON).unwrap(), number);
            if number > 0 {
                slowest = slowest.max(began.elapsed());
            }
        }
        drop(open);
        assert!(slowest < SOON / 10);
    }

    /// The bell of a job that is done rings while the next one blocks.
    #[test]
    fn a_bell_does_not_wait_for_a_blocked_job() {
        let lane = Lane::new(2);
        let (open, gate) = mpsc::channel::<()>();
        let (sender, rung) = mpsc::channel();
        let (begin, gate_of_first) = mpsc::channel();
        // The worker is held until all three wait, so that it finds them one after the other.
        lane.submit(Box::new(move || gate_of_first.recv().map_or(None, |()| None))).unwrap();
        lane.submit(Box::new(move || Some(Ring(sender, 7)))).unwrap();
        lane.submit(Box::new(move || gate.recv().map_or(None, |()| None))).unwrap();
        begin.send(()).unwrap();
        assert_eq!(rung.recv_timeout(SOON).unwrap(), 7);
        drop(open);
    }

    #[test]
    fn a_panic_costs_nothing_but_its_job() {
        let lane = Lane::new(1);
        let (sender, rung) = mpsc::channel();
        lane.submit(Box::new(|| panic!("ouch"))).unwrap();
        lane.submit(Box::new(move || Some(Ring(sender, 1)))).unwrap();
        assert_eq!(rung.recv_timeout(SOON).unwrap(), 1);
    }
}
