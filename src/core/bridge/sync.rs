//! The primitives the bridge is built on: std's, or loom's when the model checker compiles it.

#[cfg(not(offloop_loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

#[cfg(offloop_loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks; a panic in another holder leaves the data as it was, which every holder here allows.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
