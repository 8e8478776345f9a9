//! How a download is called off: asked to stop, it ends the write under way, and then says so.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A request to stop, made from any thread.
#[derive(Debug, Default)]
pub struct Stop {
    /// Relaxed: the notification that follows it carries the order.
    asked: AtomicBool,
    notify: Notify,
}

impl Stop {
    /// Asks once; further requests change nothing.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }

    /// Waits until it is asked. For one waiter.
    pub(super) async fn asked(&self) {
        while !self.asked.load(Ordering::Relaxed) {
            self.notify.notified().await;
        }
    }
}
