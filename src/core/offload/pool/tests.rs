use super::*;
use std::thread;

#[derive(Debug, PartialEq)]
struct Number(u64);

impl Call for Number {
    fn is_wanted(&self) -> bool {
        self.0 < 1_000_000
    }
}

const UNWANTED: u64 = 1_000_000;

fn pool(limit: usize, queue_limit: usize) -> Arc<Pool<Number>> {
    let crew = Arc::new(Crew::new(100));
    Arc::new(Pool::new(limit, queue_limit, Duration::from_secs(60), Some(crew)))
}

fn submit(pool: &Pool<Number>, number: u64) -> Result<Submitted, Kind> {
    let waiting = Waiting { call: Number(number), since: Instant::now() };
    pool.submit(waiting, 0).map(|(submitted, _)| submitted).map_err(|refused| refused.error.kind)
}

fn take(worker: &mut Worker<Number>) -> Option<(u64, Submitted)> {
    match worker.take(Instant::now(), Some(Ended::Done), Duration::ZERO) {
        Taken::Call(waiting, next) => Some((waiting.call.0, next)),
        Taken::Nothing | Taken::Leave => None,
    }
}

#[test]
fn a_burst_hires_one_worker_and_each_arrival_sends_for_the_next() {
    let pool = pool(3, 100);
    assert_eq!(submit(&pool, 1), Ok(Submitted::Hire));
    let mut first = Worker::hired(&pool);
    for call in 2..=5 {
        assert_eq!(submit(&pool, call), Ok(Submitted::Covered));
    }
    assert_eq!(take(&mut first), Some((1, Submitted::Hire)));
    assert_eq!(take(&mut first), Some((2, Submitted::Covered)), "one is on its way already");
    let mut second = Worker::hired(&pool);
    assert_eq!(take(&mut second), Some((3, Submitted::Hire)));
    let mut third = Worker::hired(&pool);
    assert_eq!(take(&mut third), Some((4, Submitted::Covered)), "the limit holds");
    assert_eq!(take(&mut third), Some((5, Submitted::Covered)));
    assert_eq!(pool.workers(), 3);
}

#[test]
fn a_full_queue_and_a_closed_pool_give_the_call_back() {
    let pool = pool(1, 1);
    assert_eq!(submit(&pool, 1), Ok(Submitted::Hire));
    let mut worker = Worker::hired(&pool);
    assert!(take(&mut worker).is_some());
    assert_eq!(submit(&pool, 2), Ok(Submitted::Covered));
    assert_eq!(submit(&pool, 3), Err(Kind::PoolFull));
    assert_eq!(pool.close(), [Number(2)]);
    assert_eq!(submit(&pool, 4), Err(Kind::Closed));
}

#[test]
fn calls_nobody_wants_give_way_in_a_full_queue() {
    let pool = pool(1, 1);
    assert_eq!(submit(&pool, 1), Ok(Submitted::Hire));
    let mut worker = Worker::hired(&pool);
    assert!(take(&mut worker).is_some());
    assert_eq!(submit(&pool, UNWANTED), Ok(Submitted::Covered));
    let waiting = Waiting { call: Number(3), since: Instant::now() };
    assert_eq!(pool.submit(waiting, 0).unwrap().1, [Number(UNWANTED)]);
}

#[test]
fn a_worker_that_could_not_be_started_leaves_its_place_free() {
    let pool = pool(1, 10);
    assert_eq!(submit(&pool, 1), Ok(Submitted::Hire));
    drop(Worker::hired(&pool));
    assert_eq!(pool.workers(), 0);
    assert_eq!(submit(&pool, 2), Ok(Submitted::Hire));
}

#[test]
fn an_idle_worker_leaves_and_another_is_hired_when_there_is_work_again() {
    let crew = Arc::new(Crew::new(100));
    let pool = Arc::new(Pool::new(1, 10, Duration::from_millis(1), Some(crew)));
    assert_eq!(submit(&pool, 1), Ok(Submitted::Hire));
    let mut worker = Worker::hired(&pool);
    assert!(take(&mut worker).is_some());
    assert!(take(&mut worker).is_none());
    assert!(!worker.wait());
    assert_eq!(pool.workers(), 0);
    assert_eq!(submit(&pool, 2), Ok(Submitted::Hire));
    drop(worker);
    assert_eq!(pool.workers(), 1, "who has left does not count twice");
}

#[test]
fn a_smaller_limit_lets_workers_go_and_a_larger_one_sends_for_one() {
    let pool = pool(2, 10);
    assert_eq!(submit(&pool, 1), Ok(Submitted::Hire));
    let mut first = Worker::hired(&pool);
    assert_eq!(submit(&pool, 2), Ok(Submitted::Covered));
    assert_eq!(take(&mut first), Some((1, Submitted::Hire)));
    let mut second = Worker::hired(&pool);
    assert_eq!(take(&mut second), Some((2, Submitted::Covered)));
    assert_eq!(pool.resize(1), Submitted::Covered);
    assert!(matches!(second.take(Instant::now(), None, Duration::ZERO), Taken::Leave));
    assert_eq!(pool.workers(), 1);
    assert_eq!(submit(&pool, 3), Ok(Submitted::Covered));
    assert_eq!(pool.resize(2), Submitted::Hire);
}

#[test]
fn all_pools_together_have_a_limit_but_each_may_have_one_worker() {
    let crew = Arc::new(Crew::new(1));
    let pools: Vec<_> = (0..2)
        .map(|_| Arc::new(Pool::new(5, 10, Duration::from_secs(60), Some(Arc::clone(&crew)))))
        .collect();
    for pool in &pools {
        assert_eq!(submit(pool, 1), Ok(Submitted::Hire));
        let mut worker = Worker::hired(pool);
        assert_eq!(submit(pool, 2), Ok(Submitted::Covered));
        assert_eq!(take(&mut worker), Some((1, Submitted::Covered)), "the crew is full");
        std::mem::forget(worker);
    }
}

#[test]
fn turns_are_granted_up_to_the_limit_and_counted() {
    let pool = Pool::new(1, 10, Duration::from_secs(60), None);
    for call in 1..=2 {
        assert_eq!(submit(&pool, call), Ok(Submitted::Covered), "nobody is to be hired");
    }
    assert_eq!(pool.grant(Instant::now()), Some(Number(1)));
    assert_eq!(pool.grant(Instant::now()), None);
    pool.release(Some(Ended::Failed), Duration::from_millis(1));
    assert_eq!(pool.grant(Instant::now()), Some(Number(2)));
    let (snapshot, _) = pool.snapshot();
    assert_eq!((snapshot.queued, snapshot.running, snapshot.figures.failed), (0, 1, 1));
}

#[test]
fn every_call_is_taken_exactly_once_under_load() {
    fn work(pool: &Arc<Pool<Number>>) -> u64 {
        let mut worker = Worker::hired(pool);
        let mut colleagues = Vec::new();
        let mut sum = 0;
        loop {
            while let Some((call, next)) = take(&mut worker) {
                sum += call;
                if next == Submitted::Hire {
                    let pool = Arc::clone(pool);
                    colleagues.push(thread::spawn(move || work(&pool)));
                }
            }
            if !worker.wait() {
                drop(worker);
                return sum + colleagues.into_iter().map(|c| c.join().unwrap()).sum::<u64>();
            }
        }
    }
    let pool = pool(8, 1_000_000);
    let mut workers = Vec::new();
    for n in 1..=100_000 {
        if submit(&pool, n) == Ok(Submitted::Hire) {
            let pool = Arc::clone(&pool);
            workers.push(thread::spawn(move || work(&pool)));
        }
    }
    pool.close_gently();
    assert!(pool.wait_until_empty(Duration::from_secs(5)));
    let sum: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(sum, 100_000 * 100_001 / 2);
    let (snapshot, _) = pool.snapshot();
    assert_eq!(snapshot.figures.done, 100_000);
}
