//! Carries one operation from its first poll to the door of its loop, on tokio's threads.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use super::{Bell, Doorbell, Queue, Ticket};
use crate::error::Error;

/// An operation, type-erased: the future lives in one allocation and is never moved.
pub type Operation<T> = Pin<Box<dyn Future<Output = Result<T, Box<Error>>> + Send>>;

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

/// One operation on its way: runs it, stores what becomes of it in its ticket and pushes the
/// parcel.
///
/// A panic becomes an `Internal` error. Cancelling the ticket, or dropping this future at any
/// point, drops the operation; a ring that is owed is rung all the same. Written as a state
/// machine by hand, because an `async fn` is more than twice as large, and ten thousand of them
/// may be waiting.
pub struct Carry<T, P, D: Doorbell> {
    ticket: Arc<Ticket<Result<T, Box<Error>>>>,
    door: Arc<Door<P, D>>,
    leg: Leg<T, P, D>,
}

enum Leg<T, P, D: Doorbell> {
    /// Not polled yet: not counted as under way.
    Waiting(Operation<T>, P),
    /// Under way.
    Running(Operation<T>, P),
    /// At the door; the ring waits for company.
    Ringing(Bell<D>),
    /// Home, or called off.
    Over,
}

impl<T, P, D: Doorbell> Carry<T, P, D> {
    /// `operation` with its ticket, bound for `door`.
    pub fn new(
        operation: Operation<T>,
        ticket: Arc<Ticket<Result<T, Box<Error>>>>,
        door: Arc<Door<P, D>>,
        parcel: P,
    ) -> Self {
        Self { ticket, door, leg: Leg::Waiting(operation, parcel) }
    }

    /// Delivers; gives what is still to be done.
    fn arrive(&self, outcome: Result<T, Box<Error>>, parcel: P) -> Leg<T, P, D> {
        if self.ticket.complete(outcome).is_ok()
            && let Ok(Some(bell)) = self.door.queue.push(parcel)
        {
            return Leg::Ringing(bell);
        }
        Leg::Over
    }

    fn is_crowded(&self) -> bool {
        self.door.under_way.load(Ordering::Relaxed) > LONELY
    }
}

/// Nothing in it is pinned in place: the operation has a box of its own.
impl<T, P, D: Doorbell> Unpin for Carry<T, P, D> {}

impl<T, P, D: Doorbell> Future for Carry<T, P, D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let (mut operation, parcel) = match std::mem::replace(&mut this.leg, Leg::Over) {
            Leg::Waiting(operation, parcel) => {
                this.door.under_way.fetch_add(1, Ordering::Relaxed);
                (operation, parcel)
            }
            Leg::Running(operation, parcel) => (operation, parcel),
            // The ring has waited one turn of the runtime.
            Leg::Ringing(_bell) => return Poll::Ready(()),
            Leg::Over => return Poll::Ready(()),
        };
        let outcome = if this.ticket.watch(context.waker()) {
            let polled = catch_unwind(AssertUnwindSafe(|| operation.as_mut().poll(context)));
            match polled {
                Ok(Poll::Pending) => {
                    this.leg = Leg::Running(operation, parcel);
                    return Poll::Pending;
                }
                Ok(Poll::Ready(outcome)) => Some(outcome),
                Err(payload) => Some(Err(Box::new(Error::from_panic(payload.as_ref())))),
            }
        } else {
            None
        };
        this.door.under_way.fetch_sub(1, Ordering::Relaxed);
        drop(operation);
        if let Some(outcome) = outcome {
            this.leg = this.arrive(outcome, parcel);
        }
        if matches!(this.leg, Leg::Ringing(_)) && this.is_crowded() {
            return pin!(tokio::task::yield_now()).poll(context);
        }
        this.leg = Leg::Over;
        Poll::Ready(())
    }
}

impl<T, P, D: Doorbell> Drop for Carry<T, P, D> {
    fn drop(&mut self) {
        if matches!(self.leg, Leg::Running(..)) {
            self.door.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests run on a runtime of their own")]
mod tests {
    use super::*;
    use crate::bridge::Stage;
    use crate::error::Kind;
    use std::future::poll_fn;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Doorbell for Counter {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    type TestDoor = Arc<Door<usize, Counter>>;
    type TestTicket = Arc<Ticket<Result<u8, Box<Error>>>>;

    fn parts() -> (TestDoor, TestTicket) {
        (Arc::new(Door::new(Counter::default())), Arc::new(Ticket::running()))
    }

    fn carry(
        work: impl Future<Output = Result<u8, Box<Error>>> + Send + 'static,
        ticket: &TestTicket,
        door: &TestDoor,
    ) -> Carry<u8, usize, Counter> {
        Carry::new(Box::pin(work), Arc::clone(ticket), Arc::clone(door), 1)
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
        let task = tokio::spawn(carry(work, &ticket, &door));
        tokio::task::yield_now().await;
        assert!(ticket.cancel());
        task.await.unwrap();
        assert_eq!(closed.load(Ordering::SeqCst), 1);
        assert_eq!(door.under_way.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_panic_becomes_an_internal_error() {
        let (door, ticket) = parts();
        carry(async { panic!("ouch") }, &ticket, &door).await;
        let error = ticket.take().unwrap().unwrap_err();
        assert_eq!(error.kind, Kind::Internal);
        assert!(error.message.contains("ouch"));
        assert_eq!(door.queue.doorbell().0.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_task_aborted_before_it_rings_rings_all_the_same() {
        let (door, ticket) = parts();
        door.under_way.store(100, Ordering::Relaxed); // crowded: the ring waits one turn
        let mut task = carry(async { Ok(3) }, &ticket, &door);
        let first = poll_fn(|context| Poll::Ready(Pin::new(&mut task).poll(context))).await;
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
                tokio::spawn(carry(async { Ok(1) }, &ticket, &door))
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
        carry(async { Ok(1) }, &ticket, &door).await;
        assert_eq!(ticket.stage(), Stage::Cancelled);
        assert_eq!(door.queue.doorbell().0.load(Ordering::SeqCst), 0);
    }
}
