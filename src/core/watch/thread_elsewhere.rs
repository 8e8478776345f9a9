//! Systems that do not tell what one of their threads does: everything is unknown, and the
//! watchdog has only the loop's beat to go by.

pub(super) use super::activity::{Activity, Busy, Condition, Times};

/// The number of the calling thread.
#[must_use]
pub fn current_thread() -> Option<u32> {
    None
}

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) number: u32,
}

#[expect(clippy::unused_self, reason = "the same shape on every system")]
impl Thread {
    pub(super) fn open(number: u32) -> Self {
        Self { number }
    }

    pub(super) fn is_visible(&self) -> bool {
        false
    }

    pub(super) fn activity(&self) -> Activity {
        Activity::Unknown
    }

    pub(super) fn times(&self) -> Times {
        Times::default()
    }

    pub(super) fn condition(&self) -> Condition {
        Condition::default()
    }
}

pub(super) fn all_times() -> Vec<Busy> {
    Vec::new()
}
