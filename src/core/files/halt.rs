//! Whether an operation on files may still be given up.
//!
//! Until it changes something, a cancel ends the await at once, and the thread notices when it
//! can. From the first change on ([`Halt::commit`]) the await ends when the operation has: nothing
//! is written behind the back of somebody who believes it cancelled. Law: of `ask`, seen as "at
//! once", and `commit` exactly one succeeds.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Failure;

const ASKED: u8 = 1;
const COMMITTED: u8 = 2;

/// Changes under way in the whole process, for the exit to wait for.
static CHANGES: Mutex<usize> = Mutex::new(0);
static QUIET: Condvar = Condvar::new();

/// Shared by the awaiter of an operation and the thread that works on it.
#[derive(Debug, Default)]
pub struct Halt(AtomicU8);

impl Halt {
    /// The awaiter wants no more of it; true when he need not wait for its end. `AcqRel` pairs
    /// with `commit`.
    pub fn ask(&self) -> bool {
        self.0.fetch_or(ASKED, Ordering::AcqRel) & COMMITTED == 0
    }

    /// Whether the awaiter has asked; long operations look between two pieces.
    ///
    /// # Errors
    /// `Stopped`.
    pub fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Acquire) & ASKED == 0 { Ok(()) } else { Err(Failure::Stopped) }
    }

    /// The operation is about to change something; the exit waits while the guard lives.
    ///
    /// # Errors
    /// `Stopped` when the awaiter has gone: then nothing may be changed.
    pub fn commit(&self) -> Result<Change, Failure> {
        self.0
            .compare_exchange(0, COMMITTED, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|_| Failure::Stopped)?;
        *CHANGES.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ok(Change(()))
    }
}

/// A change under way.
#[derive(Debug)]
#[must_use = "the change is over when this is dropped"]
pub struct Change(());

impl Drop for Change {
    fn drop(&mut self) {
        let mut changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        *changes -= 1;
        if *changes == 0 {
            QUIET.notify_all();
        }
    }
}

/// Waits until no change is under way, but no longer than `grace`; true when there is none.
#[must_use]
pub fn wait_for_changes(grace: Duration) -> bool {
    let changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = QUIET.wait_timeout_while(changes, grace, |changes| *changes > 0);
    *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_before_the_change_prevents_it() {
        let halt = Halt::default();
        assert!(halt.ask());
        assert!(matches!(halt.commit(), Err(Failure::Stopped)));
        assert!(halt.check().is_err());
    }

    #[test]
    fn a_cancel_after_the_change_began_waits_for_its_end() {
        let halt = Halt::default();
        let change = halt.commit().unwrap();
        assert!(!halt.ask());
        assert!(halt.check().is_err(), "it may still be undone");
        assert!(!wait_for_changes(Duration::from_millis(1)));
        drop(change);
        assert!(wait_for_changes(Duration::from_secs(5)));
    }
}
