//! What Linux tells of one thread of this process: `/proc/self/task/<tid>/…`.
//!
//! Files stay open and are read with `pread`, some microseconds each. Nothing here wakes or stops
//! the thread. A file that cannot be read (a hardened container) makes its answer "unknown".

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(super) use super::activity::{Activity, Busy, Condition, Times};

/// The number of the calling thread.
#[must_use]
pub fn current_thread() -> Option<u32> {
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// One thread of this process.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) number: u32,
    syscall: Option<File>,
    schedstat: Option<File>,
    stat: Option<File>,
    status: Option<File>,
}

impl Thread {
    pub(super) fn open(number: u32) -> Self {
        let open = |name: &str| File::open(format!("/proc/self/task/{number}/{name}")).ok();
        Self {
            number,
            syscall: open("syscall"),
            schedstat: open("schedstat"),
            stat: open("stat"),
            status: open("status"),
        }
    }

    /// Whether the system tells what the thread does: without it, only the beat is left.
    pub(super) fn is_visible(&self) -> bool {
        self.activity() != Activity::Unknown
    }

    pub(super) fn activity(&self) -> Activity {
        let mut buffer = [0; 256];
        read(self.syscall.as_ref(), &mut buffer).map_or(Activity::Unknown, parse_activity)
    }

    pub(super) fn times(&self) -> Times {
        let mut buffer = [0; 128];
        let mut numbers = read(self.schedstat.as_ref(), &mut buffer)
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(|number| number.parse().unwrap_or(0));
        Times { ran: numbers.next().unwrap_or(0), waited: numbers.next().unwrap_or(0) }
    }

    pub(super) fn condition(&self) -> Condition {
        let mut buffer = [0; 1024];
        read(self.stat.as_ref(), &mut buffer).map(parse_condition).unwrap_or_default()
    }

    /// What the thread makes of signal `number`.
    pub(super) fn signal(&self, number: i32) -> Option<Signal> {
        let mut buffer = [0; 4096];
        parse_signal(read(self.status.as_ref(), &mut buffer)?, number)
    }
}

/// How a thread stands to one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signal {
    /// May be sent: a handler is installed, the user's queue of signals has room (without, the
    /// kernel would send SIGIO instead), and no debugger would stop at it.
    pub(super) welcome: bool,
    /// On its way, or its handler runs: that is, its delivery is blocked.
    pub(super) busy: bool,
}

/// The processor time of all threads of this process; at most 512 of them are looked at.
pub(super) fn all_times() -> Vec<Busy> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let numbers =
        tasks.flatten().take(512).filter_map(|task| task.file_name().to_str()?.parse().ok());
    let times = numbers.filter_map(|number: u32| {
        let text = std::fs::read_to_string(format!("/proc/self/task/{number}/schedstat")).ok()?;
        let ran = text.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Busy { number, ran })
    });
    times.collect()
}

fn read<'buffer>(file: Option<&File>, buffer: &'buffer mut [u8]) -> Option<&'buffer str> {
    let length = loop {
        match file?.read_at(buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other.ok()?,
        }
    };
    std::str::from_utf8(buffer.get(..length)?).ok()
}

fn parse_activity(text: &str) -> Activity {
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or("");
    if first == "running" {
        return Activity::Running;
    }
    let mut hexadecimal = || {
        let word = words.next()?.strip_prefix("0x")?;
        u64::from_str_radix(word, 16).ok()
    };
    match first.parse() {
        Ok(-1) => Activity::Fault,
        Ok(number) => {
            let arguments = [hexadecimal().unwrap_or(0), hexadecimal().unwrap_or(0)];
            Activity::Call { number, arguments }
        }
        Err(_) => Activity::Unknown,
    }
}

/// `17 (name) S …`: the name may hold anything, so reading begins after the last bracket.
fn parse_condition(text: &str) -> Condition {
    let mut words = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
    let stopped = matches!(words.next(), Some("T" | "t"));
    // Field 12 of the line, that is nine after the state.
    let major_faults = words.nth(8).and_then(|word| word.parse().ok()).unwrap_or(0);
    Condition { stopped, major_faults }
}

fn parse_signal(text: &str, number: i32) -> Option<Signal> {
    let bit = 1_u64.checked_shl(u32::try_from(number - 1).ok()?)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').trim())
    };
    let has = |name: &str| {
        let mask = u64::from_str_radix(field(name)?, 16).ok()?;
        Some(mask & bit != 0)
    };
    let (used, limit) = field("SigQ")?.split_once('/')?;
    let room = used.parse::<u64>().ok()? + 1 < limit.parse().ok()?;
    let traced = field("TracerPid")? != "0";
    Some(Signal {
        welcome: has("SigCgt")? && room && !traced,
        busy: has("SigBlk")? || has("SigPnd")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_system_are_understood() {
        assert_eq!(parse_activity("running\n"), Activity::Running);
        assert_eq!(parse_activity("-1 0x7ffe 0x7f85\n"), Activity::Fault);
        let call = Activity::Call { number: 232, arguments: [5, 16] };
        assert_eq!(parse_activity("232 0x5 0x10 0x2 0x0 0x0 0x0 0x7ffe 0x7f85\n"), call);
        assert_eq!(parse_activity(""), Activity::Unknown);
        let condition = parse_condition("17 (a) b) T 1 2 3 4 5 6 7 8 99 10\n");
        assert!(condition.stopped);
        assert_eq!(condition.major_faults, 99);
    }

    #[test]
    fn a_blocked_signal_is_a_handler_at_work() {
        let text = "Name:\tx\nTracerPid:\t0\nSigQ:\t1/96365\nSigPnd:\t0000000000000000\n\
                    SigBlk:\t1000000000000000\nSigIgn:\t0000000001001000\nSigCgt:\t1000000100000002\n";
        assert_eq!(parse_signal(text, 61), Some(Signal { welcome: true, busy: true }));
        assert_eq!(parse_signal(text, 60), Some(Signal { welcome: false, busy: false }));
    }

    #[test]
    fn no_signal_is_sent_into_a_full_queue_or_a_debugger() {
        let text =
            "TracerPid:\t0\nSigQ:\t9/10\nSigPnd:\t0\nSigBlk:\t0\nSigCgt:\t1000000000000000\n";
        assert!(!parse_signal(text, 61).unwrap().welcome, "full");
        let room = text.replace("9/10", "2/10");
        assert!(parse_signal(&room, 61).unwrap().welcome);
        assert!(!parse_signal(&room.replace("Pid:\t0", "Pid:\t7"), 61).unwrap().welcome);
    }

    #[test]
    fn a_thread_sees_itself() {
        let own = Thread::open(current_thread().unwrap());
        assert!(own.is_visible());
        assert!((0..1_000).all(|_| own.is_visible()));
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(own.times().ran > 0);
    }
}
