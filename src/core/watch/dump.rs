//! Has a thread write its own Python stack, without Python's lock and without `unsafe`.
//!
//! faulthandler's handler of one signal writes the stack of the thread it runs in to a pipe. The
//! signal is sent by the kernel: the thread owns a pipe of its own (`F_SETOWN_EX`) that was told
//! to send this signal when it becomes readable (`O_ASYNC`, `F_SETSIG`), so a byte written there
//! reaches this thread and no other, and a thread that has ended gets nothing. Python makes these
//! settings once; docs/decisions/0030 says why this way.
//!
//! The handler writes in many pieces, and says nothing when it has finished. While it runs, its
//! own signal is blocked: a dump is whole when the signal is neither pending nor blocked. What
//! takes longer than `LIMIT` is thrown away.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::stack::{Stack, parse};
use super::thread::Thread;

/// A dump takes well below a millisecond; a thread that is not on a processor may need longer.
const LIMIT: Duration = Duration::from_millis(60);
/// 100 frames with names of at most 500 characters, escaped: the pipe takes as much at once.
const LARGEST: usize = 256 * 1024;

/// Where faulthandler writes; one for the process, as a signal has one handler.
#[derive(Debug)]
pub struct Dumps {
    reader: OwnedFd,
    writer: OwnedFd,
    signal: i32,
    /// Held for one dump at a time: they all come through one pipe.
    turn: Mutex<()>,
}

/// What makes the kernel signal one thread.
#[derive(Debug)]
pub struct Prod {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Prod {
    /// A pipe that signals nobody yet.
    ///
    /// # Errors
    /// Those of `pipe2`.
    pub fn new() -> std::io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer })
    }

    /// The descriptor that has to be told whom to signal.
    #[must_use]
    pub fn descriptor(&self) -> Option<i32> {
        Some(self.reader.as_raw_fd())
    }
}

impl Dumps {
    /// A pipe for dumps that `signal` will bring.
    ///
    /// # Errors
    /// Those of `pipe2`.
    pub fn new(signal: i32) -> std::io::Result<Self> {
        // The writer does not wait either: should nobody read, the handler must not hang.
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer, signal, turn: Mutex::new(()) })
    }

    /// The descriptor for faulthandler to write to.
    #[must_use]
    pub fn descriptor(&self) -> Option<i32> {
        Some(self.writer.as_raw_fd())
    }

    /// The stack of `thread` at this moment, if it can be had.
    pub(super) fn take(&self, thread: &Thread, prod: &Prod) -> Option<Stack> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = thread.signal(self.signal)?;
        if !before.welcome || before.busy {
            return None;
        }
        self.read_into(&mut Vec::new()); // what came too late for the last dump
        rustix::io::write(&prod.writer, b"!").ok()?;
        let text = self.collect(thread);
        let _ = rustix::io::read(&prod.reader, &mut [0; 64]);
        parse(std::str::from_utf8(&text?).ok()?)
    }

    fn collect(&self, thread: &Thread) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline && text.len() <= LARGEST {
            let mut ready = [PollFd::new(&self.reader, PollFlags::IN)];
            let pause = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            let _ = poll(&mut ready, Some(&pause));
            self.read_into(&mut text);
            let begun = !text.is_empty();
            if begun && !thread.signal(self.signal)?.busy {
                self.read_into(&mut text); // written between the two looks
                return Some(text);
            }
        }
        None
    }

    fn read_into(&self, text: &mut Vec<u8>) {
        let mut buffer = [0; 4096];
        while text.len() <= LARGEST {
            match rustix::io::read(&self.reader, &mut buffer) {
                Ok(length) if length > 0 => {
                    text.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(rustix::io::Errno::INTR) => {}
                _ => return,
            }
        }
    }
}
