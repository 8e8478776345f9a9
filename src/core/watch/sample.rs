//! One loop's watch, step by step: asks whether the loop still comes round, and gathers evidence
//! while it does not. On the watcher's thread; it holds no lock that Python's side waits for
//! longer than a copy takes.

use std::sync::Arc;

use super::beat::{Beat, now};
use super::calls;
use super::cause::{Cause, decide};
use super::dump::{Dumps, Prod};
use super::evidence::{Evidence, inside_loop};
use super::garbage;
use super::pulse::Pulse;
use super::report::Stall;
use super::stack::{Frame, Stack};
use super::starved::Starved;
use super::thread::{Activity, Busy, Condition, Thread, Times, all_times};
use super::watcher::{Asked, Shared, Target};

/// Between two looks at a thread that is at work, and at one that is idle: short enough to find
/// a stall within 20 ms of the threshold, long enough to cost a thousandth of a processor.
const STEP: u64 = 10_000_000;
/// Between two looks at a loop that comes round by itself. Such a loop may block right after a look
/// and be found at it two looks later, which is to be within 20 ms, too.
const TURNING_STEP: u64 = 8_000_000;
/// Between two questions to such a loop: they tell how late it comes.
const SPACING: u64 = 100_000_000;
/// Stacks taken of one stall, beyond which only its end is waited for.
const DUMPS: u32 = 24;
/// The longest step in a stall that goes on and on.
const LONGEST_STEP: u64 = 200_000_000;
/// Stacks that are kept of a stall, and the frames of each.
const KEPT: usize = 3;

/// One loop under watch.
pub(super) struct Watched {
    target: Target,
    thread: Thread,
    /// The system shows what the thread does; else there is only the beat.
    visible: bool,
    question: Option<Question>,
    open: Option<Open>,
    /// Whether the thread waits for a processor, since the open question was asked.
    starved: Starved,
    /// When the last step was, for the timeline.
    last: u64,
    /// When the last question was asked, and the loop's own turns until the last look.
    asked: u64,
    turns: u64,
}

/// What was known when the open question was asked.
struct Question {
    asked: u64,
    times: Times,
    condition: Condition,
    garbage: u64,
    /// All pauses of the process until then.
    paused: u64,
}

/// A stall, or what may become one.
struct Open {
    number: u64,
    evidence: Evidence,
    /// Longer than the threshold, and told.
    detected: Option<u64>,
    named: Option<u64>,
    dumps: u32,
    traced: bool,
    /// Said aloud.
    said: bool,
    threads: Vec<Busy>,
    step: u64,
}

impl Watched {
    pub(super) fn new(target: Target, at: u64) -> Self {
        let thread = Thread::open(target.thread);
        let visible = target.sampled && thread.is_visible();
        let starved = Starved::default();
        let (question, open) = (None, None);
        Self { target, thread, visible, question, open, starved, last: at, asked: 0, turns: 0 }
    }

    pub(super) fn key(&self) -> u64 {
        self.target.key
    }

    /// The number of the stall that Python's side may look at.
    pub(super) fn open_number(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.number)
    }

    /// One step; returns when the next is due.
    pub(super) fn step(&mut self, shared: &Shared, pulse: &mut Pulse) -> u64 {
        let at = pulse.feel(shared, 0);
        let activity = if self.visible { self.thread.activity() } else { Activity::Unknown };
        let idle = self.is_idle(activity);
        let from = std::mem::replace(&mut self.last, at);
        // It may have come round, and gone to sleep, long before this look.
        let answered = !self.target.beat.is_open() && self.question.is_some();
        let until = if answered { self.target.beat.answered().clamp(from, at) } else { from };
        let until = if idle { until } else { at };
        let mut report = shared.report();
        report.add_time(self.key(), from, until, true);
        report.add_time(self.key(), until, at, false);
        drop(report);
        if idle {
            self.finish(shared, pulse, at);
            return at + STEP;
        }
        if self.question.is_some() && !self.target.beat.is_open() {
            let answered = self.target.beat.answered();
            self.finish(shared, pulse, answered);
        }
        if self.question.is_none() {
            let turns = self.target.beat.turns();
            let comes_round = std::mem::replace(&mut self.turns, turns) != turns;
            if self.visible && comes_round && at.saturating_sub(self.asked) < SPACING {
                return at + TURNING_STEP;
            }
            return self.ask(shared, pulse, at);
        }
        let times = self.thread.times();
        self.starved.look(at, times, activity == Activity::Running);
        let lag = self.lag(pulse, at, times);
        let threshold = shared.settings.threshold;
        if lag < threshold / 2 {
            let rest = threshold / 2 - lag;
            return at + rest.min(STEP);
        }
        self.gather(shared, activity, at);
        let detected = self.open.as_ref().and_then(|open| open.detected);
        let felt = pulse.feel(shared, 0);
        let lag = self.lag(pulse, felt, self.thread.times());
        match detected {
            None if lag >= threshold => self.detect(shared, pulse),
            Some(detected) => self.say(shared, detected, lag),
            None => {}
        }
        let step = self.open.as_ref().map_or(STEP, |open| open.step);
        let rest = if lag < threshold { (threshold - lag).max(100_000) } else { step };
        now() + rest.min(step)
    }

    fn is_idle(&self, activity: Activity) -> bool {
        match activity {
            Activity::Call { number, arguments: [first, _] } => {
                calls::is_idle(number, first, self.target.poller)
            }
            _ => false,
        }
    }

    /// Asks the loop to say that it comes round.
    fn ask(&mut self, shared: &Shared, pulse: &Pulse, at: u64) -> u64 {
        self.question = Some(Question {
            asked: at,
            times: self.thread.times(),
            condition: self.thread.condition(),
            garbage: garbage::total(at),
            paused: pulse.paused(),
        });
        self.asked = at;
        self.target.beat.ask(at);
        (self.target.ring)();
        shared.report().totals.questions += 1;
        // Without a view of the thread, each question wakes an idle loop: ask less often.
        at + if self.visible { STEP } else { STEP.max(shared.settings.threshold / 4) }
    }

    /// How long the loop has not come round, without what is not its doing: pauses of the process,
    /// and waits for a processor, the one included that it may be in.
    fn lag(&self, pulse: &Pulse, at: u64, times: Times) -> u64 {
        let Some(question) = &self.question else {
            return 0;
        };
        let waited = times.waited.saturating_sub(question.times.waited);
        let waited = waited + self.starved.waits(at, times);
        let paused = pulse.paused() - question.paused;
        at.saturating_sub(question.asked).saturating_sub(paused).saturating_sub(waited)
    }

    /// Looks at the thread once, with everything there is.
    fn gather(&mut self, shared: &Shared, activity: Activity, at: u64) {
        let condition = self.thread.condition();
        let open = self.open.get_or_insert_with(|| Open {
            number: shared.next_number(),
            evidence: Evidence::default(),
            detected: None,
            named: None,
            dumps: 0,
            traced: false,
            said: false,
            threads: all_times(),
            step: STEP,
        });
        if condition.stopped {
            open.traced = true;
            return;
        }
        open.evidence.ticks += 1;
        let waits = shared.waits_for_lock();
        if let Some(since) = waits.since {
            open.evidence.refused = open.evidence.refused.max(at.saturating_sub(since));
        }
        let mut waiting = false;
        match activity {
            Activity::Call { number, arguments: [word, _] } => {
                waiting = waits.is_lock(number, word);
                if waiting {
                    open.evidence.lock_waits += 1;
                } else {
                    open.evidence.add_call(number);
                }
            }
            Activity::Fault => open.evidence.faults += 1,
            Activity::Running | Activity::Unknown => {}
        }
        if open.dumps >= DUMPS {
            open.step = LONGEST_STEP.min(open.step * 2);
            return;
        }
        if waiting && !open.evidence.stacks.is_empty() {
            return; // where it waits for Python's lock says little, and one such stack is enough
        }
        open.dumps += 1;
        if open.dumps > DUMPS / 2 {
            open.step = LONGEST_STEP.min(open.step * 3 / 2);
        }
        if let Some(stack) = dump(shared.settings.dumps.as_deref(), &self.thread, &self.target)
            && self.target.beat.is_open()
        {
            open.named.get_or_insert_with(now);
            open.evidence.dumped = true;
            open.evidence.add_stack(stack);
        }
        shared.send(Asked::Look { key: self.target.key, number: open.number });
    }

    /// The threshold is passed: tells it, while the loop is still blocked.
    fn detect(&mut self, shared: &Shared, pulse: &Pulse) {
        let at = now();
        if let Some(open) = &mut self.open {
            open.detected = Some(at);
        }
        let lasted = self.lag(pulse, at, self.thread.times());
        if let Some(stall) = self.describe(lasted, None, shared) {
            shared.report().totals.stalls += 1;
            shared.send(Asked::Detected(Box::new(stall)));
        }
    }

    /// Says what blocks without Python, once, if Python's side does not come to it.
    fn say(&mut self, shared: &Shared, detected: u64, lag: u64) {
        let waiting = |open: &Open| !open.said && shared.has_to_say(open.number, detected);
        if self.open.as_ref().is_some_and(waiting) {
            if let Some(stall) = self.describe(lag, None, shared) {
                shared.say(&stall);
            }
            if let Some(open) = &mut self.open {
                open.said = true;
            }
        }
    }

    /// The loop has come round at `at`, or is idle.
    fn finish(&mut self, shared: &Shared, pulse: &Pulse, at: u64) {
        let lag = self.lag(pulse, at, self.thread.times());
        if let Some(question) = &self.question
            && at >= question.asked
        {
            shared.report().lag.add(at - question.asked);
            let detected = self.open.as_ref().is_some_and(|open| open.detected.is_some());
            if detected || (self.open.is_some() && lag >= shared.settings.threshold) {
                if !detected {
                    self.detect(shared, pulse);
                }
                if let Some(stall) = self.describe(lag, Some(at), shared) {
                    shared.send(Asked::Ended(Box::new(stall)));
                }
            }
        }
        self.question = None;
        self.open = None;
        self.starved = Starved::default();
    }

    /// The loop is no longer watched.
    pub(super) fn leave(&mut self, shared: &Shared, pulse: &mut Pulse) {
        let at = pulse.feel(shared, 0);
        shared.report().add_time(self.key(), self.last, at, self.question.is_some());
        let answered = self.target.beat.answered();
        let asked = self.question.as_ref().map_or(0, |question| question.asked);
        self.finish(shared, pulse, if answered >= asked { answered } else { at });
    }

    fn describe(&mut self, lasted: u64, ended: Option<u64>, shared: &Shared) -> Option<Stall> {
        let (open, question) = (self.open.as_mut()?, self.question.as_ref()?);
        let at = ended.unwrap_or_else(now);
        for look in shared.take_looks(open.number) {
            open.named = open.named.or(look.stack.as_ref().map(|_| look.at));
            open.evidence.add_look(look);
        }
        open.evidence.delays = shared.delays(question.asked, at);
        let evidence = &mut open.evidence;
        evidence.lasted = lasted;
        evidence.elapsed = at.saturating_sub(question.asked);
        evidence.garbage = garbage::total(at).saturating_sub(question.garbage);
        evidence.major_faults =
            self.thread.condition().major_faults.saturating_sub(question.condition.major_faults);
        evidence.ran = self.thread.times().ran.saturating_sub(question.times.ran);
        if evidence.lock_waits > 0 {
            evidence.busiest = busiest(&open.threads, self.thread.number);
        }
        let cause = if open.traced { Cause::Paused } else { decide(evidence) };
        let stacks = most_frequent(&evidence.stacks);
        let blamed = stacks.first().and_then(|stack| blame(stack, &shared.settings.libraries));
        Some(Stall {
            number: open.number,
            key: self.target.key,
            began: question.asked,
            named: open.named,
            detected: open.detected.unwrap_or(at),
            ended,
            lasted,
            cause,
            stacks,
            blamed,
            traced: open.traced,
        })
    }
}

fn dump(dumps: Option<&Dumps>, thread: &Thread, target: &Target) -> Option<Stack> {
    dumps?.take(thread, target.prod.as_ref()?)
}

/// The other thread that used the processor most since `before`.
fn busiest(before: &[Busy], own: u32) -> Option<u32> {
    let used = all_times().into_iter().filter(|busy| busy.number != own).map(|busy| {
        let known = before.iter().find(|known| known.number == busy.number);
        (busy.ran.saturating_sub(known.map_or(0, |known| known.ran)), busy.number)
    });
    used.max().filter(|(ran, _)| *ran > 0).map(|(_, number)| number)
}

/// Each stack once, the most frequent first, at most `KEPT`.
fn most_frequent(stacks: &[Stack]) -> Vec<Stack> {
    let mut counted: Vec<(usize, &Stack)> = Vec::new();
    for stack in stacks {
        match counted.iter_mut().find(|(_, known)| *known == stack) {
            Some((count, _)) => *count += 1,
            None => counted.push((1, stack)),
        }
    }
    counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count)); // stable: the first wins a tie
    counted.into_iter().take(KEPT).map(|(_, stack)| Arc::clone(stack)).collect()
}

/// Which frame is to blame: the newest that is the user's own, else the newest that is not of
/// the standard library, else the newest. In an import, the line that imports.
fn blame(stack: &[Frame], libraries: &[String]) -> Option<usize> {
    let inside = inside_loop(stack);
    let import = inside.iter().rposition(|frame| frame.file.starts_with("<frozen importlib"));
    let skipped = import.map_or(0, |index| index + 1);
    let frames = inside.get(skipped..).unwrap_or_default();
    if frames.is_empty() && skipped > 0 {
        return Some(0);
    }
    let is_library = |frame: &Frame| {
        frame.file.starts_with("<frozen ")
            || libraries.iter().any(|prefix| frame.file.starts_with(prefix.as_str()))
    };
    let own = frames.iter().position(|frame| !is_library(frame));
    let foreign = || {
        frames.iter().position(|frame| {
            frame.file.contains("site-packages") || frame.file.contains("dist-packages")
        })
    };
    let found = own.or_else(foreign).or(if frames.is_empty() { None } else { Some(0) });
    found.map(|index| index + skipped)
}

impl Target {
    /// A target whose thread the system shows, if it does.
    #[must_use]
    pub fn new(key: u64, thread: u32, beat: Arc<Beat>, ring: Box<dyn Fn() + Send>) -> Self {
        Self { key, thread, beat, ring, poller: None, prod: None, sampled: true }
    }

    /// The descriptor of the loop's epoll.
    #[must_use]
    pub fn polling(mut self, poller: Option<i32>) -> Self {
        self.poller = poller;
        self
    }

    /// What signals its thread.
    #[must_use]
    pub fn prodded_by(mut self, prod: Option<Prod>) -> Self {
        self.prod = prod;
        self
    }

    /// Whether the system may be asked what the thread does.
    #[must_use]
    pub fn sampled(mut self, sampled: bool) -> Self {
        self.sampled = sampled;
        self
    }
}
