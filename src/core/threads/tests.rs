use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

static TWO: Threads = Threads::new("test-two", 2);

#[tokio::test]
async fn work_runs_on_a_thread_of_the_given_name() {
    let name = TWO.run(|| std::thread::current().name().map(str::to_owned)).await.unwrap();
    assert_eq!(name.as_deref(), Some("test-two"));
}

#[tokio::test]
async fn a_panic_becomes_an_error_and_the_thread_lives_on() {
    let threads = Threads::new("test-panic", 1);
    let error = threads.run(|| panic!("as the test wants")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Internal);
    assert!(error.message.contains("as the test wants"));
    assert_eq!(threads.run(|| 7).await.unwrap(), 7);
    assert_eq!(threads.shared.get().unwrap().lock().threads, 1);
}

#[tokio::test]
async fn never_more_threads_than_the_limit_and_all_work_is_done() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    let threads = Threads::new("test-limit", 3);
    let works: Vec<_> = (0..2_000)
        .map(|n: u64| {
            threads.run(move || {
                assert!(NOW.fetch_add(1, Ordering::SeqCst) < 3);
                std::thread::yield_now();
                NOW.fetch_sub(1, Ordering::SeqCst);
                n
            })
        })
        .collect();
    let mut sum = 0;
    for work in works {
        sum += work.await.unwrap();
    }
    assert_eq!(sum, 1_999 * 2_000 / 2);
    assert!(threads.shared.get().unwrap().lock().threads <= 3);
}

#[tokio::test]
async fn a_burst_gets_a_thread_each_even_while_one_idles() {
    let threads = Threads::new("test-burst", 3);
    threads.run(|| ()).await.unwrap();
    // Each waits for the other two: this ends only if all three run at once.
    let meeting = Arc::new(std::sync::Barrier::new(3));
    let works: Vec<_> = (0..3)
        .map(|_| {
            let meeting = Arc::clone(&meeting);
            threads.run(move || meeting.wait().is_leader())
        })
        .collect();
    for work in works {
        work.await.unwrap();
    }
}

#[tokio::test]
async fn work_dropped_before_it_began_is_not_done_and_leaves_the_queue() {
    let threads = Threads::new("test-drop", 1);
    let (release, held) = mpsc::channel::<()>();
    let (start, begun) = mpsc::channel();
    let first = threads.run(move || {
        start.send(()).unwrap();
        held.recv().is_ok()
    });
    begun.recv().unwrap();
    let (tell, told) = mpsc::channel();
    let tell_too = tell.clone();
    let second = threads.run(move || tell.send("dropped").is_ok());
    let third = threads.run(move || tell_too.send("kept").is_ok());
    drop(second);
    assert_eq!(threads.shared.get().unwrap().lock().jobs.len(), 1);
    release.send(()).unwrap();
    assert!(first.await.unwrap());
    assert!(third.await.unwrap());
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["kept"]);
}

#[tokio::test]
async fn work_dropped_after_it_began_goes_on() {
    let threads = Threads::new("test-goes-on", 1);
    let (start, begun) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let work = threads.run(move || {
        start.send(()).unwrap();
        held.recv().unwrap();
        tell.send(()).unwrap();
    });
    begun.recv().unwrap();
    drop(work);
    release.send(()).unwrap();
    told.recv().unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let threads = Threads::new("test-full", 1);
    let (release, held) = mpsc::channel::<()>();
    let (start, begun) = mpsc::channel();
    let first = threads.run(move || {
        start.send(()).unwrap();
        held.recv().is_ok()
    });
    begun.recv().unwrap();
    let waiting: Vec<_> = (0..QUEUE).map(|_| threads.run(|| ())).collect();
    assert_eq!(threads.run(|| ()).await.unwrap_err().kind, Kind::PoolFull);
    drop(waiting);
    let next = threads.run(|| 1);
    release.send(()).unwrap();
    assert!(first.await.unwrap());
    assert_eq!(next.await.unwrap(), 1);
}

#[tokio::test]
async fn idle_threads_end_and_others_begin_when_there_is_work_again() {
    let threads = Threads { idle: Duration::from_millis(1), ..Threads::new("test-idle", 4) };
    for _ in 0..3 {
        threads.run(|| ()).await.unwrap();
        let shared = Arc::clone(threads.shared.get().unwrap());
        while shared.lock().threads > 0 {
            std::thread::yield_now();
        }
    }
    // Threads that are about to end take work, or are replaced: none is left behind.
    for _ in 0..500 {
        threads.run(|| ()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs itself again where stacks are too large for any thread to start.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_thread_the_system_refuses_is_an_error_with_its_number() {
    const VARIABLE: &str = "RUST_MIN_STACK";
    const SIZE: &str = "1152921504606846976";
    if std::env::var(VARIABLE).as_deref() == Ok(SIZE) {
        let threads = Threads::new("test-refused", 1);
        let error = threads.run(|| ()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Resources);
        assert!(error.errno.is_some());
        assert!(threads.shared.get().unwrap().lock().jobs.is_empty());
        return;
    }
    let (_, path) = module_path!().split_once("::").unwrap();
    let name = format!("{path}::a_thread_the_system_refuses_is_an_error_with_its_number");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--test-threads=1"])
        .env(VARIABLE, SIZE)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
