//! The completion queue of one event loop, and its bell.
//!
//! Producers are tokio's threads and the pool's workers; the one consumer is the loop's own
//! thread. Only the push that finds the bell silent has to ring it, so a burst of a thousand
//! completions costs the loop one wake-up.
//!
//! Law (no lost wake-up): whenever an item is in the queue, the bell has been rung since the
//! last `drain`, or a [`Bell`] that is going to ring it is alive. The consumer must silence its
//! doorbell *before* it calls [`Queue::drain`]; the reverse order loses a ring that falls
//! between the two. The law is model-checked in `model.rs`.
//!
//! A mutex and not a lock-free list: the flag and the items change together, a push holds the
//! lock for some nanoseconds, and the whole queue is taken in one swap.

use std::collections::VecDeque;

use super::sync::{Arc, Mutex, lock};

/// What wakes the consumer: an eventfd, a pipe, a flag in a test.
pub trait Doorbell {
    /// Wakes the consumer. May be called from any thread; must neither block nor panic.
    fn ring(&self);
}

/// Completions on their way to one event loop.
#[derive(Debug)]
pub struct Queue<T, D: Doorbell> {
    inner: Mutex<Inner<T>>,
    doorbell: Arc<D>,
}

#[derive(Debug)]
struct Inner<T> {
    /// Pushed by producers, emptied by the consumer.
    items: VecDeque<T>,
    /// A ring is under way or was heard of by nobody yet: set by the push that has to ring,
    /// cleared by `drain`.
    rung: bool,
    /// Cleared once, by `close`.
    open: bool,
}

/// The duty to ring: rings when it is dropped, so that an aborted task cannot take the
/// wake-up with it. Holding it back for a moment lets more completions join the burst.
#[must_use = "the consumer sleeps until the bell is dropped"]
#[derive(Debug)]
pub struct Bell<D: Doorbell> {
    doorbell: Arc<D>,
}

impl<D: Doorbell> Drop for Bell<D> {
    fn drop(&mut self) {
        self.doorbell.ring();
    }
}

impl<T, D: Doorbell> Queue<T, D> {
    /// An open, empty queue whose consumer is woken by `doorbell`.
    pub fn new(doorbell: D) -> Self {
        let inner = Inner { items: VecDeque::new(), rung: false, open: true };
        Self { inner: Mutex::new(inner), doorbell: Arc::new(doorbell) }
    }

    /// The doorbell, for the consumer to silence.
    pub fn doorbell(&self) -> &D {
        &self.doorbell
    }

    /// Adds `item`; the first of a burst is handed the [`Bell`].
    ///
    /// # Errors
    /// A closed queue gives the item back.
    pub fn push(&self, item: T) -> Result<Option<Bell<D>>, T> {
        let mut inner = lock(&self.inner);
        if !inner.open {
            return Err(item);
        }
        inner.items.push_back(item);
        Ok(self.claim_bell(&mut inner))
    }

    /// Moves all items to the end of `into` and listens for the next ring.
    pub fn drain(&self, into: &mut VecDeque<T>) {
        let mut inner = lock(&self.inner);
        inner.rung = false;
        if into.is_empty() {
            std::mem::swap(into, &mut inner.items);
        } else {
            into.append(&mut inner.items);
        }
    }

    /// Asks for one more wake-up: a consumer calls it when it stops before all is done.
    pub fn ring(&self) {
        let bell = self.claim_bell(&mut lock(&self.inner));
        drop(bell);
    }

    /// Refuses all further items and returns those nobody fetched. Idempotent.
    pub fn close(&self) -> VecDeque<T> {
        let mut inner = lock(&self.inner);
        inner.open = false;
        std::mem::take(&mut inner.items)
    }

    fn claim_bell(&self, inner: &mut Inner<T>) -> Option<Bell<D>> {
        if inner.rung || !inner.open {
            return None;
        }
        inner.rung = true;
        Some(Bell { doorbell: Arc::clone(&self.doorbell) })
    }
}
