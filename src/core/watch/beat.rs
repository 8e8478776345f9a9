//! A question to an event loop, "do you still come round?", and its answer.
//!
//! The watcher's thread asks and rings the loop's doorbell; the loop's thread answers when its
//! drain begins. Asking is one store, answering two. A loop that is not asked counts its drains:
//! one that comes round by itself need not be asked, and woken, for each look at it.

use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::bridge::now;

/// One loop's question and answer.
#[derive(Debug, Default)]
pub struct Beat {
    /// When the open question was asked, 0 without one. Set by the watcher, cleared by the loop;
    /// Release and Acquire pair it with `answered`.
    asked: AtomicU64,
    /// When the last question was answered. Written by the loop's thread alone.
    answered: AtomicU64,
    /// Drains that answered nothing. Written by the loop's thread alone, and read by the watcher
    /// for whether it has changed: Relaxed.
    turns: AtomicU64,
}

impl Beat {
    /// The loop's thread has come round.
    pub fn answer(&self) {
        if self.asked.load(Ordering::Relaxed) != 0 {
            self.answered.store(now(), Ordering::Relaxed);
            self.asked.store(0, Ordering::Release);
        } else {
            let turns = self.turns.load(Ordering::Relaxed);
            self.turns.store(turns.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// How often the loop has come round without being asked.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub(super) fn ask(&self, at: u64) {
        self.asked.store(at, Ordering::Release);
    }

    /// Whether the last question is still open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.asked.load(Ordering::Acquire) != 0
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_open_until_it_is_answered() {
        let beat = Beat::default();
        beat.answer();
        assert_eq!(beat.answered(), 0, "nobody asked");
        let asked = now();
        beat.ask(asked);
        assert!(beat.is_open());
        beat.answer();
        assert!(!beat.is_open());
        assert!(beat.answered() >= asked);
    }

    #[test]
    fn an_answer_is_no_turn_of_the_loops_own() {
        let beat = Beat::default();
        beat.ask(now());
        beat.answer();
        assert_eq!(beat.turns(), 0);
        beat.answer();
        assert_eq!(beat.turns(), 1);
    }
}
