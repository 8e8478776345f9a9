//! What a caller can watch while a download runs: counters, written by the runtime and read by
//! whoever draws them, whenever he likes. Nobody waits for anybody.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fetch::{Opened, Response};

/// Where a download stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Waiting for an answer.
    Connecting,
    /// Bytes are coming.
    Downloading,
    /// Making the checksum, syncing, renaming.
    Finishing,
}

/// Counters of one download. Relaxed: each is true by itself.
#[derive(Debug)]
pub struct Meter {
    bytes: AtomicU64,
    /// `u64::MAX` while it is not known.
    total: AtomicU64,
    resumed: AtomicU64,
    step: AtomicU8,
    /// The answer that the file began with, without its body. Written when a connection is about to
    /// take that, and cleared when all begins anew.
    answer: Mutex<Option<Box<Response>>>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Bytes in the file, those of earlier calls included.
    pub bytes: u64,
    /// How many there will be.
    pub total: Option<u64>,
    /// Bytes of earlier calls.
    pub resumed: u64,
    /// Where it stands.
    pub step: Step,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            total: AtomicU64::new(u64::MAX),
            resumed: AtomicU64::new(0),
            step: AtomicU8::new(Step::Connecting as u8),
            answer: Mutex::default(),
        }
    }
}

impl Meter {
    /// What there is to see now.
    #[must_use]
    pub fn read(&self) -> Reading {
        let total = self.total.load(Ordering::Relaxed);
        let step = match self.step.load(Ordering::Relaxed) {
            0 => Step::Connecting,
            1 => Step::Downloading,
            _ => Step::Finishing,
        };
        Reading {
            bytes: self.bytes.load(Ordering::Relaxed),
            total: (total != u64::MAX).then_some(total),
            resumed: self.resumed.load(Ordering::Relaxed),
            step,
        }
    }

    /// The answer that the file began with, without its body; `None` before it, and if nothing was
    /// missing.
    #[must_use]
    pub fn answer(&self) -> Option<Response> {
        self.first().as_ref().map(|answer| answer.outline())
    }

    pub(super) fn answered(&self, opened: &Opened) {
        self.first().get_or_insert_with(|| Box::new(opened.outline()));
    }

    fn first(&self) -> MutexGuard<'_, Option<Box<Response>>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    pub(super) fn set_total(&self, total: Option<u64>) {
        self.total.store(total.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was there before, all of it or none.
    pub(super) fn begin_at(&self, bytes: u64) {
        *self.first() = None;
        self.bytes.store(bytes, Ordering::Relaxed);
        self.resumed.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
