//! Systems that do not tell what one of their threads does: everything is unknown, and the
//! watchdog has only the loop's beat to go by.

/// The number of the calling thread.
#[must_use]
pub fn current_thread() -> Option<u32> {
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "the same shape on every system")]
pub(super) enum Activity {
    Running,
    Call { number: i64, arguments: [u64; 2] },
    Fault,
    Unknown,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) ran: u64,
    pub(super) waited: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Condition {
    pub(super) stopped: bool,
    pub(super) major_faults: u64,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Busy {
    pub(super) number: u32,
    pub(super) ran: u64,
}

pub(super) fn all_times() -> Vec<Busy> {
    Vec::new()
}
