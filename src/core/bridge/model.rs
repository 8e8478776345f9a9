//! The laws of `queue` and `ticket`, checked by loom over every interleaving of their threads.
//! Compiled by the crate in `src/model`, which swaps std's primitives for loom's.

use std::collections::VecDeque;
use std::sync::PoisonError;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::sync::lock;
use super::{Doorbell, Queue, Stage, Ticket};

/// A doorbell like an eventfd: it stays rung until somebody silences it.
#[derive(Default)]
struct Gong {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Doorbell for Gong {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.heard.notify_one();
    }
}

impl Gong {
    fn wait_and_silence(&self) {
        let mut rung = lock(&self.rung);
        while !*rung {
            rung = self.heard.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }
}

fn queue() -> Arc<Queue<usize, Gong>> {
    Arc::new(Queue::new(Gong::default()))
}

/// Sleeps and drains until `wanted` items have come: loom reports a lost wake-up as a deadlock.
fn drain_until(queue: &Queue<usize, Gong>, wanted: usize) -> Vec<usize> {
    let mut got = VecDeque::new();
    while got.len() < wanted {
        queue.doorbell().wait_and_silence();
        queue.drain(&mut got);
    }
    got.into()
}

#[test]
fn no_lost_wake_up() {
    loom::model(|| {
        let queue = queue();
        let producers: Vec<_> = (0..2)
            .map(|n| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || drop(queue.push(n)))
            })
            .collect();
        let mut got = drain_until(&queue, 2);
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn no_lost_wake_up_when_the_ring_is_deferred() {
    loom::model(|| {
        let queue = queue();
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let bell = queue.push(0);
                thread::yield_now();
                let second = queue.push(1);
                drop(bell);
                drop(second);
            })
        };
        assert_eq!(drain_until(&queue, 2), [0, 1]);
        producer.join().unwrap();
    });
}

#[test]
fn no_lost_wake_up_when_a_bounded_drain_rings_again() {
    loom::model(|| {
        let queue = queue();
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || drop(queue.push(0)))
        };
        queue.ring(); // the consumer stopped early in an earlier turn
        let mut got = VecDeque::new();
        queue.doorbell().wait_and_silence();
        queue.drain(&mut got);
        if got.is_empty() {
            queue.doorbell().wait_and_silence();
            queue.drain(&mut got);
        }
        assert_eq!(got, [0]);
        producer.join().unwrap();
    });
}

/// A task that is dropped between push and ring, as an aborted tokio task is.
#[test]
fn ring_from_a_dropped_task() {
    loom::model(|| {
        let queue = queue();
        let task = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let bell = queue.push(7);
                let suspended = async move {
                    let _bell = bell;
                    std::future::pending::<()>().await;
                };
                drop(suspended);
            })
        };
        assert_eq!(drain_until(&queue, 1), [7]);
        task.join().unwrap();
    });
}

#[test]
fn close_gives_every_item_back_exactly_once() {
    loom::model(|| {
        let queue = queue();
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || match queue.push(1) {
                Ok(bell) => usize::from(bell.is_none()),
                Err(item) => item,
            })
        };
        let left = queue.close().len();
        let returned = producer.join().unwrap();
        let stranded = queue.close().len();
        assert_eq!((left + returned, stranded), (1, 0));
    });
}

#[test]
fn no_double_delivery() {
    loom::model(|| {
        let ticket = Arc::new(Ticket::running());
        ticket.complete(5).unwrap();
        let delivered = Arc::new(AtomicUsize::new(0));
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let (ticket, delivered) = (Arc::clone(&ticket), Arc::clone(&delivered));
                thread::spawn(move || {
                    if ticket.take().is_some() {
                        delivered.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!(delivered.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn cancel_against_complete() {
    loom::model(|| {
        let ticket = Arc::new(Ticket::running());
        let worker = {
            let ticket = Arc::clone(&ticket);
            thread::spawn(move || ticket.complete(5).is_ok())
        };
        let cancelled = ticket.cancel();
        let stored = worker.join().unwrap();
        assert!(cancelled, "an outcome nobody took can always be called off");
        assert_eq!(ticket.take(), None);
        assert_eq!(ticket.stage(), Stage::Cancelled);
        let _ = stored; // either order is fine, the waiter sees the same
    });
}

/// The task's poll and the waiter's cancel: the task sees it, or is woken to see it.
#[test]
fn cancel_against_watch() {
    struct Alarm(AtomicUsize);
    impl std::task::Wake for Alarm {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    loom::model(|| {
        let ticket = Arc::new(Ticket::<u8>::running());
        let alarm = std::sync::Arc::new(Alarm(AtomicUsize::new(0)));
        let task = {
            let (ticket, alarm) = (Arc::clone(&ticket), std::sync::Arc::clone(&alarm));
            thread::spawn(move || ticket.watch(&alarm.into()))
        };
        assert!(ticket.cancel());
        let goes_to_sleep = task.join().unwrap();
        assert_eq!(alarm.0.load(Ordering::SeqCst), usize::from(goes_to_sleep));
    });
}

#[test]
fn cancel_against_take() {
    loom::model(|| {
        let ticket = Arc::new(Ticket::running());
        ticket.complete(5).unwrap();
        let taker = {
            let ticket = Arc::clone(&ticket);
            thread::spawn(move || ticket.take())
        };
        let cancelled = ticket.cancel();
        assert_eq!(taker.join().unwrap().is_some(), !cancelled);
    });
}

#[test]
fn cancel_before_start_against_begin() {
    loom::model(|| {
        let ticket = Arc::new(Ticket::<u8>::queued());
        let worker = {
            let ticket = Arc::clone(&ticket);
            thread::spawn(move || ticket.begin(1))
        };
        let cancelled = ticket.cancel_queued();
        assert_ne!(worker.join().unwrap(), cancelled);
    });
}
