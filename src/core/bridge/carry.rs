//! Carries one operation from its first poll to the door of its loop, on tokio's threads.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use super::{Bell, Doorbell, Queue, Ticket};
use crate::error::Error;

/// An operation, type-erased: the future lives in one allocation and is never moved.
pub type Operation<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// With more operations than this under way, a ring waits for company (measured: ringing at
/// once gives 1.3 to 2 completions per wake-up, one yield 24 to 48; below this number the
/// yield costs a lone request 15 to 28 %).
const LONELY: usize = 4;

/// Where a completion goes: the queue, and how many operations are on their way to it.
#[derive(Debug)]
pub struct Door<T, D: Doorbell> {
    /// Drained by the loop's thread.
    pub queue: Queue<T, D>,
    /// Raised when an operation starts, lowered when it ends; a hint, hence Relaxed.
    pub under_way: AtomicUsize,
}

impl<T, D: Doorbell> Door<T, D> {
    /// An open door.
    pub fn new(doorbell: D) -> Self {
        Self { queue: Queue::new(doorbell), under_way: AtomicUsize::new(0) }
    }
}

/// An operation about to be carried: everything its task owns.
pub struct Departure<T, P, D: Doorbell> {
    /// The work.
    pub operation: Operation<T>,
    /// Where its outcome goes, and what tells it to stop.
    pub ticket: Arc<Ticket<Result<T, Error>>>,
    /// The way home.
    pub door: Arc<Door<P, D>>,
    /// What is pushed through the door when the outcome is there.
    pub parcel: P,
}

/// Runs the operation, stores what becomes of it in its ticket and pushes the parcel.
///
/// A panic becomes an `Internal` error. Cancelling the ticket, or dropping this future at any
/// point, drops the operation; a ring that is owed is rung all the same.
pub async fn carry<T, P, D: Doorbell>(departure: Departure<T, P, D>) {
    let Departure { mut operation, ticket, door, parcel } = departure;
    let _under_way = UnderWay::enter(&door.under_way);
    let outcome = poll_fn(|context| {
        if !ticket.watch(context.waker()) {
            return Poll::Ready(None);
        }
        let polled = catch_unwind(AssertUnwindSafe(|| operation.as_mut().poll(context)));
        polled
            .unwrap_or_else(|payload| Poll::Ready(Err(Error::from_panic(payload.as_ref()))))
            .map(Some)
    })
    .await;
    drop(operation);
    if let Some(outcome) = outcome
        && ticket.complete(outcome).is_ok()
        && let Ok(Some(bell)) = door.queue.push(parcel)
    {
        ring_in_company(bell, &door.under_way).await;
    }
}

async fn ring_in_company<D: Doorbell>(bell: Bell<D>, under_way: &AtomicUsize) {
    if under_way.load(Ordering::Relaxed) > LONELY {
        tokio::task::yield_now().await;
    }
    drop(bell);
}

struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::Stage;
    use crate::error::Kind;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Doorbell for Counter {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    type TestDoor = Arc<Door<usize, Counter>>;
    type TestTicket = Arc<Ticket<Result<u8, Error>>>;

    fn parts() -> (TestDoor, TestTicket) {
        (Arc::new(Door::new(Counter::default())), Arc::new(Ticket::running()))
    }

    fn depart(
        work: impl Future<Output = Result<u8, Error>> + Send + 'static,
        ticket: &TestTicket,
        door: &TestDoor,
    ) -> Departure<u8, usize, Counter> {
        let (ticket, door) = (Arc::clone(ticket), Arc::clone(door));
        Departure { operation: Box::pin(work), ticket, door, parcel: 1 }
    }

    #[tokio::test]
    async fn cancelling_drops_the_operation_wherever_it_waits() {
        struct Socket(Arc<AtomicUsize>);
        impl Drop for Socket {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let closed = Arc::new(AtomicUsize::new(0));
        let socket = Socket(Arc::clone(&closed));
        let (door, ticket) = parts();
        let work = async move {
            let _socket = socket;
            std::future::pending().await
        };
        let task = tokio::spawn(carry(depart(work, &ticket, &door)));
        tokio::task::yield_now().await;
        assert!(ticket.cancel());
        task.await.unwrap();
        assert_eq!(closed.load(Ordering::SeqCst), 1);
        assert_eq!(door.under_way.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_panic_becomes_an_internal_error() {
        let (door, ticket) = parts();
        carry(depart(async { panic!("ouch") }, &ticket, &door)).await;
        let error = ticket.take().unwrap().unwrap_err();
        assert_eq!(error.kind, Kind::Internal);
        assert!(error.message.contains("ouch"));
        assert_eq!(door.queue.doorbell().0.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_task_aborted_before_it_rings_rings_all_the_same() {
        let (door, ticket) = parts();
        door.under_way.store(100, Ordering::Relaxed); // crowded: the ring waits one turn
        let task = carry(depart(async { Ok(3) }, &ticket, &door));
        let mut task = Box::pin(task);
        let first = poll_fn(|context| Poll::Ready(task.as_mut().poll(context))).await;
        assert!(first.is_pending(), "the ring is deferred");
        assert_eq!(door.queue.doorbell().0.load(Ordering::SeqCst), 0);
        drop(task);
        assert_eq!(door.queue.doorbell().0.load(Ordering::SeqCst), 1);
        assert_eq!(door.under_way.load(Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn a_burst_rings_once() {
        let (door, _) = parts();
        let crowd: Vec<_> = (0..100)
            .map(|_| {
                let ticket = Arc::new(Ticket::running());
                tokio::spawn(carry(depart(async { Ok(1) }, &ticket, &door)))
            })
            .collect();
        for task in crowd {
            task.await.unwrap();
        }
        assert_eq!(door.queue.doorbell().0.load(Ordering::SeqCst), 1);
        let mut got = std::collections::VecDeque::new();
        door.queue.drain(&mut got);
        assert_eq!(got.len(), 100);
    }

    #[tokio::test]
    async fn an_outcome_nobody_wants_does_not_ring() {
        let (door, ticket) = parts();
        assert!(ticket.cancel());
        carry(depart(async { Ok(1) }, &ticket, &door)).await;
        assert_eq!(ticket.stage(), Stage::Cancelled);
        assert_eq!(door.queue.doorbell().0.load(Ordering::SeqCst), 0);
    }
}
