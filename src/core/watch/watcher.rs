//! The watcher's thread, and its way to tell: events for Python's side, and a line on a
//! descriptor that needs no Python at all.
//!
//! Locks are held for copies only. The thread is native and touches nothing of Python; it ends
//! when it is stopped, and at the latest with the process.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::beat::{Beat, now};
use super::cause::Cause;
use super::dump::{Dumps, Prod};
use super::evidence::Look;
use super::pulse::Pulse;
use super::report::{Report, Stall};
use super::sample::Watched;
use super::thread::{Activity, Thread};

/// Events that wait for Python's side; the oldest give way.
const EVENTS: usize = 256;
/// Looks and waits for Python's lock that are remembered.
const RECENT: usize = 64;
/// How long Python's side has to tell of a stall itself, before it is said without it.
const PATIENCE: u64 = 50_000_000;
/// One place is said once in this time.
const QUIET: u64 = 10_000_000_000;

/// What a watcher has to know.
#[derive(Debug, Default)]
pub struct Settings {
    /// Nanoseconds that a loop may take to come round.
    pub threshold: u64,
    /// Where stacks come from; none: from Python's looks alone.
    pub dumps: Option<Arc<Dumps>>,
    /// Files below these are not the user's own.
    pub libraries: Vec<String>,
    /// Whether to say on stderr, without Python, what blocks when Python cannot.
    pub aloud: bool,
}

/// One loop to watch.
pub struct Target {
    pub(super) key: u64,
    pub(super) thread: u32,
    pub(super) beat: Arc<Beat>,
    pub(super) ring: Box<dyn Fn() + Send>,
    pub(super) poller: Option<i32>,
    pub(super) prod: Option<Prod>,
    pub(super) sampled: bool,
}

/// What Python's side is asked to do.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Look at this loop, and tell it with the number.
    Look {
        /// Which loop.
        key: u64,
        /// Which stall.
        number: u64,
    },
    /// A stall has passed the threshold, and goes on as far as is known.
    Detected(Box<Stall>),
    /// A stall that was told of is over.
    Ended(Box<Stall>),
}

/// A running watch.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// Wakes the watcher's thread: a loop comes or goes, or all is over.
    changed: Condvar,
    /// Wakes those who wait until the loops that went are done with.
    gone: Condvar,
    events: Mutex<VecDeque<Asked>>,
    /// Wakes Python's side.
    told: Condvar,
    report: Mutex<Report>,
    numbers: AtomicU64,
    stopped: AtomicBool,
    /// What Python's side saw, until the watcher's thread collects it. A lock of its own, held
    /// for a push or a drain: Python's side takes it with the GIL.
    looks: Mutex<VecDeque<(u64, Look)>>,
    /// When Python's side began to wait for Python's lock, and how long that took.
    delays: Mutex<VecDeque<(u64, u64)>>,
    /// Since when Python's side has wanted Python's lock, 0 when it does not. Written by it.
    wants_lock: AtomicU64,
    /// The number of its thread, 0 before it has one.
    helper: AtomicU64,
    /// Where those who wait for Python's lock wait: learned by watching Python's side do so.
    lock_word: AtomicU64,
    /// Stalls that Python's side has told of.
    heard: Mutex<VecDeque<u64>>,
    /// Places that were said aloud, and when.
    said: Mutex<VecDeque<(String, u64)>>,
}

#[derive(Default)]
struct State {
    loops: Vec<Watched>,
    coming: Vec<Target>,
    going: Vec<u64>,
    stop: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// Whether Python's side waits for Python's lock, and where that is.
pub(super) struct Waits {
    pub(super) since: Option<u64>,
    word: u64,
}

impl Waits {
    /// Whether a call is a wait for Python's lock: a futex among the words of that lock, which
    /// are two condition variables and two mutexes side by side (`struct _gil_runtime_state`).
    pub(super) fn is_lock(&self, number: i64, word: u64) -> bool {
        self.word != 0
            && super::calls::name(number) == Some("futex")
            && self.word.abs_diff(word) < 256
    }
}

/// Keeps the newest.
fn push<T>(recent: &mut VecDeque<T>, one: T) {
    if recent.len() >= RECENT {
        recent.pop_front();
    }
    recent.push_back(one);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::default(),
            changed: Condvar::new(),
            gone: Condvar::new(),
            events: Mutex::default(),
            told: Condvar::new(),
            report: Mutex::default(),
            numbers: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            looks: Mutex::default(),
            delays: Mutex::default(),
            wants_lock: AtomicU64::new(0),
            helper: AtomicU64::new(0),
            lock_word: AtomicU64::new(0),
            heard: Mutex::default(),
            said: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let thread = Builder::new().name("offloop-watch".into()).spawn(move || own.watch())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Watches one more loop.
    pub fn add(&self, target: Target) {
        lock(&self.shared.state).coming.push(target);
        self.shared.changed.notify_one();
    }

    /// Watches this loop no longer; called by its own thread, which shows that it came round.
    pub fn remove(&self, key: u64) {
        let mut state = lock(&self.shared.state);
        state.coming.retain(|target| target.key != key);
        state.going.push(key);
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Waits for something to do, for at most `limit`; `None` then, or when all is over. The
    /// caller wants Python's lock next, and says so with `has_lock` when it has it.
    pub fn next(&self, limit: Duration) -> Option<Asked> {
        let shared = &self.shared;
        if shared.helper.load(Ordering::Relaxed) == 0 {
            let number = super::current_thread().unwrap_or(0);
            shared.helper.store(number.into(), Ordering::Relaxed);
        }
        let none_yet = |events: &mut VecDeque<Asked>| {
            events.is_empty() && !shared.stopped.load(Ordering::Acquire)
        };
        let waited = shared.told.wait_timeout_while(lock(&shared.events), limit, none_yet);
        let event = waited.unwrap_or_else(PoisonError::into_inner).0.pop_front();
        shared.wants_lock.store(now(), Ordering::Relaxed);
        event
    }

    /// The thread that called `next` has Python's lock.
    pub fn has_lock(&self) {
        let since = self.shared.wants_lock.swap(0, Ordering::Relaxed);
        if since != 0 {
            let delay = (since, now().saturating_sub(since));
            push(&mut lock(&self.shared.delays), delay);
        }
    }

    /// What Python's side saw of a stall. Never waits for long, so the GIL may be kept.
    pub fn add_look(&self, number: u64, look: Look) {
        push(&mut lock(&self.shared.looks), (number, look));
    }

    /// Python's side tells of this stall.
    pub fn heard(&self, number: u64) {
        push(&mut lock(&self.shared.heard), number);
    }

    /// Whether this stall still goes on.
    #[must_use]
    pub fn is_open(&self, number: u64) -> bool {
        lock(&self.shared.state).loops.iter().any(|it| it.open_number() == Some(number))
    }

    /// Waits, for at most `limit`, until the stalls of all loops that were removed are over and
    /// told. Gives how many stalls were found so far.
    #[must_use]
    pub fn settle(&self, limit: Duration) -> u64 {
        let state = lock(&self.shared.state);
        let going = |state: &mut State| !state.going.is_empty() && !state.stop;
        let settled = self.shared.gone.wait_timeout_while(state, limit, going);
        drop(settled.unwrap_or_else(PoisonError::into_inner));
        self.shared.report().totals.stalls
    }

    /// A copy of what is kept.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.report().clone()
    }

    /// Whether the watch is over, and everything told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire) && lock(&self.shared.events).is_empty()
    }

    /// Ends the watch and waits for its thread, which takes a step at most.
    pub fn stop(&self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self) {
        let mut pulse = Pulse::new();
        let mut due = now();
        let mut state = lock(&self.state);
        loop {
            let at = pulse.feel(self, due);
            if at < due && state.coming.is_empty() && state.going.is_empty() && !state.stop {
                let rest = Duration::from_nanos(due - at);
                let woken = self.changed.wait_timeout(state, rest);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let State { loops, coming, going, stop } = &mut *state;
            for key in going.drain(..) {
                if let Some(index) = loops.iter().position(|it| it.key() == key) {
                    loops.swap_remove(index).leave(self, &mut pulse);
                }
            }
            self.gone.notify_all();
            if *stop {
                for mut watched in loops.drain(..) {
                    watched.leave(self, &mut pulse);
                }
                break;
            }
            loops.extend(coming.drain(..).map(|target| Watched::new(target, at)));
            self.learn_lock_word();
            let next = loops.iter_mut().map(|watched| watched.step(self, &mut pulse)).min();
            // Without a loop there is nothing to do until one comes.
            due = next.unwrap_or(u64::MAX);
        }
        drop(state);
        self.stopped.store(true, Ordering::Release);
        self.told.notify_all();
    }

    /// While Python's side waits for Python's lock, the system shows where.
    fn learn_lock_word(&self) {
        let helper = self.helper.load(Ordering::Relaxed);
        if self.wants_lock.load(Ordering::Relaxed) == 0 || helper == 0 {
            return;
        }
        let Ok(number) = u32::try_from(helper) else {
            return;
        };
        if let Activity::Call { number, arguments: [word, _] } = Thread::open(number).activity()
            && super::calls::name(number) == Some("futex")
            && self.wants_lock.load(Ordering::Relaxed) != 0
        {
            self.lock_word.store(word, Ordering::Relaxed);
        }
    }

    pub(super) fn waits_for_lock(&self) -> Waits {
        let since = self.wants_lock.load(Ordering::Relaxed);
        Waits { since: (since != 0).then_some(since), word: self.lock_word.load(Ordering::Relaxed) }
    }

    /// Looks at this stall that have come in.
    pub(super) fn take_looks(&self, number: u64) -> Vec<Look> {
        let mut looks = lock(&self.looks);
        let (own, others) = std::mem::take(&mut *looks).into_iter().partition(|it| it.0 == number);
        *looks = others;
        let own: VecDeque<(u64, Look)> = own;
        own.into_iter().map(|(_, look)| look).collect()
    }

    /// How long each wait of Python's side for Python's lock took that began in this time.
    pub(super) fn delays(&self, from: u64, to: u64) -> Vec<u64> {
        let delays = lock(&self.delays);
        let within = delays.iter().filter(|(since, _)| (from..to).contains(since));
        within.map(|(_, delay)| *delay).collect()
    }

    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        lock(&self.report)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn send(&self, event: Asked) {
        let mut events = lock(&self.events);
        if matches!(event, Asked::Look { .. }) {
            // One look at a time: a second one would see the same.
            if events.iter().any(|event| matches!(event, Asked::Look { .. })) {
                return;
            }
        }
        if events.len() >= EVENTS {
            events.pop_front();
        }
        events.push_back(event);
        drop(events);
        self.told.notify_one();
    }

    /// Whether a stall that was found at `detected` has to be said without Python.
    pub(super) fn has_to_say(&self, number: u64, detected: u64) -> bool {
        self.settings.aloud
            && now().saturating_sub(detected) >= PATIENCE
            && !lock(&self.heard).contains(&number)
    }

    /// Says on stderr what blocks: Python may not come to it for long.
    pub(super) fn say(&self, stall: &Stall) {
        let frame = stall.blamed.and_then(|index| stall.stacks.first()?.get(index));
        let mut place = String::new();
        if let Some(frame) = frame {
            let _ = write!(place, " at {}:{} in {}", frame.file, frame.line, frame.function);
        }
        let mut line = format!(
            "offloop: the event loop is blocked, so far for {:.3} s{place} ({}",
            seconds(stall.lasted),
            stall.cause.name(),
        );
        if let Cause::SystemCall(Some(name)) = stall.cause {
            let _ = write!(line, " {name}");
        }
        line.push_str(")\n");
        let at = now();
        let mut said = lock(&self.said);
        said.retain(|(_, when)| at.saturating_sub(*when) < QUIET);
        if said.iter().any(|(known, _)| *known == place) {
            return;
        }
        push(&mut said, (place, at));
        drop(said);
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
