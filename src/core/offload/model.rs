//! The law of `pool`, checked by loom over every interleaving of its threads. Compiled by the
//! crate in `src/model`.

use std::time::{Duration, Instant};

use loom::sync::Arc;
use loom::thread;

use super::{Call, Crew, Pool, Submitted, Taken, Waiting, Worker};

#[derive(Debug)]
struct Number(u32);

impl Call for Number {
    fn is_wanted(&self) -> bool {
        true
    }
}

type TestPool = Arc<Pool<Number>>;

fn pool(limit: usize) -> TestPool {
    Arc::new(Pool::new(limit, 100, Duration::from_secs(1), Some(Arc::new(Crew::new(100)))))
}

fn waiting(number: u32) -> Waiting<Number> {
    Waiting { call: Number(number), since: Instant::now() }
}

/// Works until the pool closes; gives the sum of the numbers it took, colleagues' included.
fn work(mut worker: Worker<Number>, pool: &TestPool) -> u32 {
    let mut sum = 0;
    let mut colleagues = Vec::new();
    loop {
        match worker.take(Instant::now(), None, Duration::ZERO) {
            Taken::Call(taken, next) => {
                sum += taken.call.0;
                if next == Submitted::Hire {
                    colleagues.push(hire(pool));
                }
            }
            Taken::Nothing if worker.wait() => {}
            Taken::Nothing | Taken::Leave => break,
        }
    }
    sum + colleagues.into_iter().filter_map(|colleague| colleague.join().ok()).sum::<u32>()
}

fn hire(pool: &TestPool) -> thread::JoinHandle<u32> {
    let (worker, pool) = (Worker::hired(pool), Arc::clone(pool));
    thread::spawn(move || work(worker, &pool))
}

fn submit(pool: &TestPool, number: u32) -> Option<thread::JoinHandle<u32>> {
    let submitted = pool.submit(waiting(number), 0).map(|(submitted, _)| submitted);
    (matches!(submitted, Ok(Submitted::Hire))).then(|| hire(pool))
}

/// loom reports a call that nobody comes for as a deadlock: the pool closes gently, and only when
/// all calls have been taken do the workers leave.
#[test]
fn no_call_is_left_behind() {
    loom::model(|| {
        let pool = pool(1);
        let workers: Vec<_> = (1..=2).filter_map(|number| submit(&pool, number)).collect();
        pool.close_gently();
        let sum: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(sum, 3);
    });
}

#[test]
fn a_worker_that_goes_to_sleep_is_woken_for_the_next_call() {
    loom::model(|| {
        let pool = pool(1);
        let first = submit(&pool, 1).unwrap();
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || assert!(submit(&pool, 2).is_none(), "the limit holds"))
        };
        other.join().unwrap();
        pool.close_gently();
        assert_eq!(first.join().unwrap(), 3);
    });
}

#[test]
fn a_turn_that_is_given_back_is_granted_again() {
    loom::model(|| {
        let pool = pool(1);
        assert!(pool.submit(waiting(1), 0).is_ok());
        assert!(pool.submit(waiting(2), 0).is_ok());
        let taker = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let mut sum = 0;
                while let Some(call) = pool.grant(Instant::now()) {
                    sum += call.0;
                    pool.release(None, Duration::ZERO);
                }
                sum
            })
        };
        let mut sum = 0;
        while let Some(call) = pool.grant(Instant::now()) {
            sum += call.0;
            pool.release(None, Duration::ZERO);
        }
        // Whoever finds the limit taken leaves the rest to the one who has the turn.
        assert_eq!(sum + taker.join().unwrap(), 3);
    });
}
