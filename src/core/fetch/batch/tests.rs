use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::dispatch::Shared;
use super::*;
use crate::fetch::client::{Client, Options};
use crate::fetch::connect::{Route, Versions};
use crate::fetch::pool::Limits;
use crate::fetch::request::Follow;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers each request but those for `/never`.
struct Server {
    address: SocketAddr,
    /// Connections that have been accepted, and not closed.
    open: Arc<AtomicUsize>,
    /// Requests that have come.
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn is_left_alone(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }
}

/// Up to so many connections are accepted; which requests share one is not known beforehand.
fn serve(connections: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (open, asked) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let server = Server { address, open: Arc::clone(&open), asked: Arc::clone(&asked) };
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let (open, asked) = (Arc::clone(&open), Arc::clone(&asked));
            open.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                answer(stream.unwrap(), &asked);
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    server
}

fn answer(mut stream: TcpStream, requests: &AtomicUsize) {
    let (mut asked, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        asked.extend_from_slice(&buffer[..length]);
        if !asked.ends_with(b"\r\n\r\n") {
            continue;
        }
        requests.fetch_add(1, Ordering::Relaxed);
        if !asked.starts_with(b"GET /never") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            asked.clear();
        }
    }
}

fn batch(limit: usize) -> Batch {
    let client = Client::new(Options {
        limits: Limits::default(),
        max_redirects: 0,
        retry_stale: true,
        max_ratio: None,
        cross_origin_headers: Vec::new(),
        retry_budget: 0.0,
        route: Route::Natural,
        versions: Versions { http1: true, http2: false },
        proxies: crate::fetch::Proxies::default(),
        guard: None,
        trust: crate::fetch::Trust::default(),
        resolve: Vec::new(),
        jar: None,
    });
    let options = BatchOptions {
        limit,
        per_host: limit,
        adaptive: false,
        rate: None,
        ordered: false,
        dedupe: false,
        rate_first: false,
        ahead: None,
        by_owner: false,
        exempt: false,
    };
    Batch::new(client.unwrap(), &options, None).unwrap()
}

fn item(address: SocketAddr, path: &str) -> Item {
    let request = Request {
        method: Method::GET,
        url: Arc::new(Url::parse(&format!("http://{address}{path}")).unwrap()),
        headers: Arc::default(),
        content: crate::fetch::Content::Empty,
        digest: None,
        timeouts: Arc::default(),
        max_body: None,
        follow: Follow::Never,
        retry: Arc::default(),
        verbatim: false,
    };
    Item { index: 0, request: Ok(request) }
}

/// Takes `count` results, all of them responses.
async fn responses(batch: &Batch, count: usize) {
    let mut got = 0;
    while got < count {
        timeout(PATIENCE, batch.ready()).await.expect("a request that nobody sends");
        for fetched in batch.take(count).unwrap() {
            assert!(matches!(fetched.outcome, Outcome::Response(_)), "{fetched:?}");
            got += 1;
        }
    }
}

/// Waits until it is so.
async fn until(what: &str, mut it: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !it() {
        assert!(Instant::now() < give_up, "{what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// How many lanes there are, and how many of them have gone to sleep.
fn lanes(shared: &Shared) -> (usize, usize) {
    let state = shared.lock();
    let asleep = state.lanes.iter().filter(|(_, lane)| lane.waker.is_some()).count();
    (state.lanes.len(), asleep.min(state.idle_lanes.len()))
}

#[tokio::test]
async fn a_lane_that_waits_is_woken_for_the_next_request() {
    let server = serve(1);
    let batch = batch(4);
    let shared = Arc::clone(&batch.shared);
    for _ in 0..3 {
        batch.feed(vec![item(server.address, "/")]);
        responses(&batch, 1).await;
        until("a lane without a request goes to sleep", || lanes(&shared) == (1, 1)).await;
    }
    drop((batch, shared));
    until("its connection is closed", || server.is_left_alone()).await;
}

#[tokio::test]
async fn a_closed_batch_lets_go_of_its_lanes() {
    let server = serve(2);
    let batch = batch(4);
    let shared: Weak<Shared> = Arc::downgrade(&batch.shared);
    batch.feed(vec![item(server.address, "/"), item(server.address, "/never")]);
    responses(&batch, 1).await;
    // One lane sleeps, the other is in the middle of a request.
    let known = || shared.upgrade().map(|shared| lanes(&shared));
    until("one of two lanes sleeps", || known() == Some((2, 1))).await;
    until("both have asked", || server.asked.load(Ordering::Relaxed) == 2).await;
    batch.close();
    drop(batch);
    until("no lane holds the batch any more", || shared.strong_count() == 0).await;
    until("the connections are closed", || server.is_left_alone()).await;
}
