use std::net::{IpAddr, Ipv4Addr};

use tokio::net::{TcpListener, TcpSocket};

use super::*;

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn listener(last: u8) -> TcpListener {
    TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).await.unwrap()
}

/// An address on which nobody listens.
async fn closed(last: u8) -> SocketAddr {
    listener(last).await.local_addr().unwrap()
}

/// A listener whose queue is full, so that connecting to it neither stands nor fails.
async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            Ok(stream) => queued.push(stream.unwrap()),
            Err(_) => return (listener, queued, address),
        }
    }
}

#[test]
fn families_take_turns_beginning_with_the_preferred_one() {
    let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
    let order = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
    assert_eq!(interleaved(&given), order);
    let given = addresses(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"]);
    assert_eq!(interleaved(&given), addresses(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]));
    assert!(interleaved(&[]).is_empty());
}

#[tokio::test]
async fn connects_without_delay_of_small_writes() {
    let listener = listener(1).await;
    let stream = dial(&[listener.local_addr().unwrap()]).await.unwrap();
    assert!(stream.nodelay().unwrap());
}

#[tokio::test]
async fn a_refused_address_is_passed_over_at_once() {
    let listener = listener(2).await;
    let open = listener.local_addr().unwrap();
    let began = Instant::now();
    let stream = dial(&[closed(1).await, closed(3).await, open]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), open);
    assert!(began.elapsed() < PACE, "nobody waited for the pace");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_silent_address_holds_up_the_next_one_by_the_pace_only() {
    let (_listener, _queued, silent) = silent().await;
    let listener = listener(2).await;
    let open = listener.local_addr().unwrap();
    let began = Instant::now();
    let stream = dial(&[silent, open]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), open);
    assert!(began.elapsed() >= PACE);
    assert!(began.elapsed() < PACE * 3);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_early_attempt_still_wins_after_the_later_ones_failed() {
    let (listener, queued, silent) = silent().await;
    let refused = closed(3).await;
    let accept = async {
        // Room in the queue again, once the second address has been refused.
        tokio::time::sleep(PACE * 2).await;
        for _ in &queued {
            listener.accept().await.unwrap();
        }
    };
    let addresses = [silent, refused];
    let (stream, ()) = tokio::join!(dial(&addresses), accept);
    assert_eq!(stream.unwrap().peer_addr().unwrap(), silent);
}

#[tokio::test]
async fn an_error_lists_every_address_with_its_own_error() {
    let given = [closed(1).await, closed(2).await, closed(3).await];
    let mut error = dial(&given).await.unwrap_err();
    assert_eq!(error.kind, Kind::Connect);
    assert_eq!(error.phase, Some(Phase::Connect));
    assert!(error.errno.is_some());
    let listed = std::mem::take(&mut error.details().addresses);
    let mut names: Vec<_> = listed.iter().map(|(address, _)| address.clone()).collect();
    names.sort();
    let mut wanted: Vec<_> = given.iter().map(ToString::to_string).collect();
    wanted.sort();
    assert_eq!(names, wanted);
    assert!(listed.iter().all(|(_, text)| text.contains("refused")), "{listed:?}");
    assert!(error.message.contains("any of 3 addresses"), "{}", error.message);
}

#[tokio::test]
async fn no_address_is_an_error_and_not_a_wait() {
    let error = dial(&[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Connect);
}

#[tokio::test]
async fn many_addresses_are_all_tried() {
    let listener = listener(9).await;
    let open = listener.local_addr().unwrap();
    let mut given = vec![closed(1).await; 50];
    given.push(open);
    assert_eq!(dial(&given).await.unwrap().peer_addr().unwrap().ip(), IpAddr::from([127, 0, 0, 9]));
}

#[cfg(unix)]
#[test]
fn what_is_wrong_here_outranks_refusals_and_those_outrank_missing_routes() {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let os = io::Error::from_raw_os_error;
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let unreachable = || io::Error::from(io::ErrorKind::NetworkUnreachable);
    let given = [at(1), at(2), at(3)];
    let error = failed(&given, vec![(at(1), unreachable()), (at(2), refused), (at(3), os(24))]);
    assert_eq!(error.errno, Some(24));
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let error = failed(&given, vec![(at(1), unreachable()), (at(2), refused)]);
    assert!(error.message.contains("127.0.0.1:2"), "{}", error.message);
}

#[test]
fn dialling_may_go_on_on_any_thread() {
    fn is_send(_: impl Send) {}
    is_send(dial(&[]));
}
