//! What is seen while a loop does not come round. Gathered by the watcher's thread, and by looks
//! that Python's side takes for it.

use super::stack::{Frame, Stack};

/// Stacks of one stall that are looked at; more would tell no more.
const STACKS: usize = 16;
/// Different system calls that are counted.
const CALLS: usize = 16;

/// What Python's side saw when it had a look at the loop.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// When it was taken, on the clock of [`super::now`].
    pub at: u64,
    /// Tells one callback from another: the address of its handle, or of the task.
    pub identity: u64,
    /// How many callbacks were due, where the loop says so.
    pub ready: Option<u64>,
    /// The stack of the loop's thread.
    pub stack: Option<Stack>,
}

/// Everything known about one stall.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// How long it lasts, pauses and waits for a processor left out.
    pub(super) lasted: u64,
    /// How long it lasts by the clock, with them.
    pub(super) elapsed: u64,
    /// Times that the thread was looked at, and what it did then.
    pub(super) ticks: u32,
    pub(super) faults: u32,
    pub(super) lock_waits: u32,
    /// System calls by number, with the ticks they were seen in.
    pub(super) calls: Vec<(i64, u32)>,
    pub(super) stacks: Vec<Stack>,
    /// The thread wrote stacks itself.
    pub(super) dumped: bool,
    pub(super) looks: Vec<(u64, Option<u64>)>,
    /// How long Python's side waited for Python's lock, each time.
    pub(super) delays: Vec<u64>,
    /// The longest it has waited in vain.
    pub(super) refused: u64,
    pub(super) garbage: u64,
    pub(super) major_faults: u64,
    /// Processor time of the loop's thread.
    pub(super) ran: u64,
    /// The other thread that used the processor most.
    pub(super) busiest: Option<u32>,
}

impl Evidence {
    pub(super) fn add_call(&mut self, number: i64) {
        let known = self.calls.iter_mut().find(|(known, _)| *known == number);
        if let Some((_, ticks)) = known {
            *ticks += 1;
        } else if self.calls.len() < CALLS {
            self.calls.push((number, 1));
        }
    }

    pub(super) fn add_stack(&mut self, stack: Stack) {
        if self.stacks.len() < STACKS {
            self.stacks.push(stack);
        }
    }

    pub(super) fn add_look(&mut self, look: Look) {
        if self.looks.len() < STACKS {
            self.looks.push((look.identity, look.ready));
            // Dumps are of one moment; a look comes when Python's lock is free again.
            if let Some(stack) = look.stack.filter(|_| !self.dumped) {
                self.add_stack(stack);
            }
        }
    }

    /// Whether the loop went on from callback to callback: at most looks another one ran than at
    /// the look before, or fewer were due. Once is not enough: a stall may begin with the end of
    /// another callback.
    pub(super) fn moves_on(&self) -> bool {
        let moved = self.looks.windows(2).filter(|pair| match pair {
            [(one, due), (other, still_due)] => {
                let fewer = matches!((due, still_due), (Some(due), Some(left)) if left < due);
                fewer || (*one != 0 && *other != 0 && one != other)
            }
            _ => false,
        });
        let count = moved.count();
        count > 0 && count * 2 >= self.looks.len() - 1
    }

    /// Whether most stacks are in an import.
    pub(super) fn imports(&self) -> bool {
        let importing = self.stacks.iter().filter(|stack| {
            let frames = inside_loop(stack);
            frames.iter().any(|frame| frame.file.starts_with("<frozen importlib"))
        });
        importing.count() * 2 > self.stacks.len()
    }

    pub(super) fn stacks_differ(&self) -> bool {
        self.stacks.windows(2).any(|pair| matches!(pair, [one, other] if one != other))
    }
}

/// The frames that the loop called: without its own and those that started it.
pub(super) fn inside_loop(stack: &[Frame]) -> &[Frame] {
    let own = stack.iter().position(is_of_loop).unwrap_or(stack.len());
    stack.get(..own).unwrap_or_default()
}

fn is_of_loop(frame: &Frame) -> bool {
    let function = frame.function.as_str();
    let file = frame.file.replace('\\', "/");
    (file.ends_with("/asyncio/events.py") && function == "_run")
        || (file.ends_with("/asyncio/base_events.py")
            && matches!(function, "_run_once" | "run_forever" | "run_until_complete"))
        || (file.ends_with("/asyncio/runners.py") && function == "run")
}
