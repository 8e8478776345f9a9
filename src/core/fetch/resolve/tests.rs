use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use super::*;

fn resolver(overrides: &[(&str, &str)]) -> Result<Resolver, Error> {
    let owned = |&(name, address): &(&str, &str)| (name.to_owned(), address.to_owned());
    Resolver::new(&overrides.iter().map(owned).collect::<Vec<_>>())
}

fn with(lookups: &'static Lookups) -> Resolver {
    Resolver { overrides: HashMap::new(), lookups }
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

const LONG: Duration = Duration::from_secs(60);

/// Holds look-ups of a test until it opens.
struct Gate {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    const fn new() -> Self {
        Self { state: Mutex::new((0, false)), changed: Condvar::new() }
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(_, open)| !*open).unwrap());
    }

    fn await_arrivals(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |(arrived, _)| *arrived < count).unwrap());
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

fn answer() -> Vec<SocketAddr> {
    addresses(&["192.0.2.1:0", "[2001:db8::1]:0"])
}

#[tokio::test]
async fn the_systems_answer_comes_with_the_port_asked_for() {
    let found = resolver(&[]).unwrap().lookup("localhost", 8080).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 8080));
    assert!(!found.is_empty());
    let again = resolver(&[]).unwrap().lookup("localhost", 81).await.unwrap();
    assert_eq!(again.len(), found.len());
    assert!(again.iter().all(|address| address.port() == 81));
}

#[tokio::test]
async fn no_such_name_is_an_error_with_the_systems_text() {
    let error = resolver(&[]).unwrap().lookup("nothing.invalid", 80).await.unwrap_err();
    assert_eq!(error.kind, Kind::Dns);
    assert!(error.message.starts_with("cannot resolve nothing.invalid: "), "{}", error.message);
}

#[tokio::test]
async fn overrides_win_over_the_system() {
    let resolver = resolver(&[
        ("A.example.", "127.0.0.2"),
        ("a.example:8080", "127.0.0.3:9090"),
        ("bücher.example", "[::1]:81"),
        ("b.example", "::1"),
        ("b.example", "127.0.0.1:82"),
        ("c.example", "[::2]"),
    ])
    .unwrap();
    for (host, port, wanted) in [
        ("a.example", 80, vec!["127.0.0.2:80"]),
        ("a.EXAMPLE.", 80, vec!["127.0.0.2:80"]),
        ("a.example", 8080, vec!["127.0.0.3:9090"]),
        ("xn--bcher-kva.example", 80, vec!["[::1]:81"]),
        ("b.example", 80, vec!["[::1]:80", "127.0.0.1:82"]),
        ("c.example", 80, vec!["[::2]:80"]),
    ] {
        assert_eq!(*resolver.lookup(host, port).await.unwrap(), addresses(&wanted), "{host}");
    }
}

#[test]
fn overrides_that_are_none_are_refused() {
    for (name, address) in [
        ("a", "localhost"),
        ("a", ""),
        ("a", "127.0.0.1:"),
        ("a", "127.0.0.1:99999"),
        ("a", "[::1"),
        ("", "::1"),
        ("a:x", "::1"),
        ("a:b:c", "::1"),
        ("127.0.0.1", "::1"),
        ("a b", "::1"),
    ] {
        let error = resolver(&[(name, address)]).expect_err(name);
        assert_eq!(error.kind, Kind::InvalidUrl);
    }
}

#[tokio::test]
async fn all_who_ask_for_a_name_share_one_look_up_and_then_its_answer() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static GATE: Gate = Gate::new();
    static LOOKUPS: Lookups = Lookups::new(
        |_| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            GATE.pass();
            Ok(answer())
        },
        LONG,
    );
    let (one, other) = (with(&LOOKUPS), with(&LOOKUPS));
    let (first, second, ()) = tokio::join!(one.lookup("a", 1), other.lookup("a", 2), async {
        GATE.await_arrivals(1);
        GATE.open();
    });
    assert_eq!(*first.unwrap(), addresses(&["192.0.2.1:1", "[2001:db8::1]:1"]));
    assert_eq!(*second.unwrap(), addresses(&["192.0.2.1:2", "[2001:db8::1]:2"]));
    one.lookup("a", 3).await.unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 1);
    one.lookup("b", 3).await.unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 2);
    assert_eq!(LOOKUPS.abandoned(), 0);
}

#[tokio::test]
async fn failures_are_not_kept() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static LOOKUPS: Lookups = Lookups::new(
        |_| match ASKED.fetch_add(1, Ordering::SeqCst) {
            0 => Err(io::Error::from_raw_os_error(24)),
            1 => Ok(Vec::new()),
            2 => panic!("as the test wants"),
            _ => Ok(answer()),
        },
        LONG,
    );
    let resolver = with(&LOOKUPS);
    let error = resolver.lookup("a", 1).await.unwrap_err();
    assert_eq!((error.kind, error.errno), (Kind::Dns, Some(24)));
    assert_eq!(resolver.lookup("a", 1).await.unwrap_err().kind, Kind::Dns);
    assert_eq!(resolver.lookup("a", 1).await.unwrap_err().kind, Kind::Internal);
    resolver.lookup("a", 1).await.unwrap();
}

#[tokio::test]
async fn an_abandoned_look_up_goes_on_is_counted_and_serves_the_next() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static GATE: Gate = Gate::new();
    static LOOKUPS: Lookups = Lookups::new(
        |_| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            GATE.pass();
            Ok(answer())
        },
        LONG,
    );
    let resolver = with(&LOOKUPS);
    {
        let mut given_up = pin!(resolver.lookup("a", 1));
        assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        GATE.await_arrivals(1);
    }
    assert_eq!(LOOKUPS.abandoned(), 1);
    let (found, ()) = tokio::join!(resolver.lookup("a", 1), async { GATE.open() });
    found.unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn hung_look_ups_hold_eight_threads_and_those_given_up_in_the_queue_never_begin() {
    static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static GATE: Gate = Gate::new();
    static LOOKUPS: Lookups = Lookups::new(
        |host| {
            ASKED.lock().unwrap().push(host.to_owned());
            GATE.pass();
            Ok(answer())
        },
        LONG,
    );
    let resolver = with(&LOOKUPS);
    let names: Vec<String> = (0..50).map(|n| format!("hung-{n}")).collect();
    {
        let mut waiting: Vec<_> =
            names.iter().map(|name| Box::pin(resolver.lookup(name, 1))).collect();
        for one in &mut waiting {
            let polled = one.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
        GATE.await_arrivals(8);
    }
    assert_eq!(LOOKUPS.abandoned(), 8);
    let (found, ()) = tokio::join!(resolver.lookup("last", 1), async { GATE.open() });
    found.unwrap();
    let asked = ASKED.lock().unwrap();
    assert_eq!(asked.len(), 9, "{asked:?}");
    assert_eq!(asked.last().map(String::as_str), Some("last"));
}

#[tokio::test]
async fn answers_of_many_names_are_kept_within_bounds() {
    static LOOKUPS: Lookups = Lookups::new(|_| Ok(answer()), LONG);
    let resolver = with(&LOOKUPS);
    for n in 0..1_100 {
        resolver.lookup(&format!("host-{n}"), 1).await.unwrap();
    }
    let (running, kept) = LOOKUPS.sizes();
    assert_eq!((running, kept), (0, 1_024));
}

#[tokio::test]
async fn an_answer_that_is_no_longer_fresh_is_asked_for_again() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static LOOKUPS: Lookups = Lookups::new(
        |_| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            Ok(answer())
        },
        Duration::ZERO,
    );
    with(&LOOKUPS).lookup("a", 1).await.unwrap();
    with(&LOOKUPS).lookup("a", 1).await.unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 2);
}

#[test]
fn whoever_comes_and_goes_nobody_waits_for_ever_and_nothing_is_left() {
    static LOOKUPS: Lookups = Lookups::new(|_| Ok(answer()), Duration::ZERO);
    let run = |seed: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let resolver = with(&LOOKUPS);
        for n in 0..2_000 {
            let name = ["a", "b", "c"][(seed + n) % 3];
            if (seed * 7 + n).is_multiple_of(4) {
                runtime.block_on(resolver.lookup(name, 1)).unwrap();
            } else {
                let mut given_up = pin!(resolver.lookup(name, 1));
                let _ = given_up.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || run(seed));
        }
    });
    while LOOKUPS.sizes().0 > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn look_ups_may_wait_on_any_thread() {
    fn is_send(_: impl Send) {}
    let resolver = with(&lookups::SYSTEM);
    is_send(resolver.lookup("a", 1));
}
