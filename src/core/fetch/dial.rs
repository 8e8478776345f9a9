//! Opens a TCP connection to whichever address of a host answers first ("happy eyeballs").
//!
//! RFC 8305: the resolver's order, but with the families interleaved (§4), and a new attempt every
//! 250 ms, or at once when one fails, while the earlier ones go on (§5). The first to stand wins
//! and the others are dropped, which closes them. When all fail, the error lists every one, so
//! that a dead IPv6 route does not hide what is wrong with IPv4.
//!
//! There is no time limit here: dropping the future is one. No task is spawned.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::error::{Error, Kind, Phase};

/// The "Connection Attempt Delay" that RFC 8305 §8 recommends.
const PACE: Duration = Duration::from_millis(250);

/// EMFILE and ENFILE on every Unix, WSAEMFILE on Windows.
const OUT_OF_DESCRIPTORS: [i32; 2] = if cfg!(windows) { [10_024; 2] } else { [24, 23] };

struct Attempt {
    address: SocketAddr,
    connecting: Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>,
}

enum Event {
    Ended(usize, io::Result<TcpStream>),
    /// Time for the next address, or nothing is under way.
    Due,
}

/// A connection, without Nagle's delay, to the first of `addresses` that accepts one.
///
/// # Errors
/// `Connect`, with every address and its own error in the details; the error number is that of
/// the most telling one.
pub(super) async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut waiting = interleaved(addresses).into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut failures = Vec::new();
    let mut pace = pin!(sleep(Duration::ZERO));
    loop {
        let event = poll_fn(|cx| {
            for (index, attempt) in attempts.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = attempt.connecting.as_mut().poll(cx) {
                    return Poll::Ready(Event::Ended(index, outcome));
                }
            }
            let more = waiting.len() > 0;
            if attempts.is_empty() || (more && pace.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Event::Due);
            }
            Poll::Pending
        });
        match event.await {
            Event::Ended(_, Ok(stream)) => return Ok(stream),
            Event::Ended(index, Err(error)) => {
                failures.push((attempts.swap_remove(index).address, error));
            }
            Event::Due => {}
        }
        match waiting.next() {
            Some(address) => {
                attempts.push(Attempt { address, connecting: Box::pin(connect(address)) });
                pace.as_mut().reset(Instant::now() + PACE);
            }
            None if attempts.is_empty() => return Err(failed(addresses, failures)),
            None => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The families by turns, beginning with the one the resolver prefers.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == preferred);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(first.next());
        order.extend(second.next());
    }
    order
}

fn failed(addresses: &[SocketAddr], failures: Vec<(SocketAddr, io::Error)>) -> Error {
    let telling = failures.iter().min_by_key(|(_, error)| rank(error));
    let Some((address, error)) = telling else {
        let text = "there is no address to connect to";
        return Error::new(Kind::Connect, text).during(Phase::Connect);
    };
    let what = match addresses.len() {
        1 => format!("cannot connect to {address}"),
        count => format!("cannot connect to any of {count} addresses; {address}"),
    };
    let mut failure = Error::system(Kind::Connect, &what, error).during(Phase::Connect);
    failure.details().addresses =
        failures.into_iter().map(|(at, error)| (at.to_string(), error.to_string())).collect();
    failure
}

/// How little an error tells: what is wrong here, then what a host answered, then silence, then
/// routes that are not there, as they are for IPv6 in half of all networks.
fn rank(error: &io::Error) -> u8 {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        NetworkDown, NetworkUnreachable, TimedOut,
    };
    if error.raw_os_error().is_some_and(|number| OUT_OF_DESCRIPTORS.contains(&number)) {
        return 0;
    }
    match error.kind() {
        ConnectionRefused => 1,
        ConnectionReset | ConnectionAborted => 2,
        TimedOut => 4,
        HostUnreachable => 5,
        NetworkUnreachable | NetworkDown | AddrNotAvailable => 6,
        _ => 3,
    }
}

#[cfg(test)]
mod tests;
