//! Systems on which one thread cannot be signalled without `unsafe`: there are no dumps, and the
//! stack comes from a look by Python.

use super::stack::Stack;
use super::thread::Thread;

/// Where stacks would be written.
#[derive(Debug)]
pub struct Dumps;

/// What would signal a thread.
#[derive(Debug)]
pub struct Prod;

impl Prod {
    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// There is none.
    #[must_use]
    pub fn descriptor(&self) -> Option<i32> {
        None
    }
}

impl Dumps {
    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn new(_signal: i32) -> std::io::Result<Self> {
        Ok(Self)
    }

    /// There is none.
    #[must_use]
    pub fn descriptor(&self) -> Option<i32> {
        None
    }

    #[expect(clippy::unused_self, reason = "the same shape on every system")]
    pub(super) fn take(&self, _thread: &Thread, _prod: &Prod) -> Option<Stack> {
        None
    }
}
