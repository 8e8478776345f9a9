//! What can be told of a thread, where the system tells it.

/// What the thread does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the same on every system"))]
pub(super) enum Activity {
    /// Runs, or waits for a processor.
    Running,
    /// Waits in a system call: its number and first two arguments.
    Call { number: i64, arguments: [u64; 2] },
    /// Waits outside of any system call: for a page that is read from disk.
    Fault,
    /// The system does not say.
    Unknown,
}

/// Nanoseconds on a processor, and waiting for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) ran: u64,
    pub(super) waited: u64,
}

/// What is looked at in a stall only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Condition {
    /// Stopped by a signal or a debugger.
    pub(super) stopped: bool,
    pub(super) major_faults: u64,
}

/// A thread of this process that has used the processor, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Busy {
    pub(super) number: u32,
    pub(super) ran: u64,
}
