//! What a connection of HTTP/1.1 has heard: how often bytes came in and, for a request that is sent
//! verbatim, the head of its answer as it stands on the wire. hyper writes the names of headers
//! small and groups those of the same name; some readers want them as they were sent.
//!
//! Written by the task that moves the bytes, read by the request that has the connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::connect::MAX_HEAD;

/// A head as it was sent, and by whom.
#[derive(Debug)]
pub struct AsSent {
    /// Name and value of each header line, in their order.
    pub lines: Vec<(Bytes, Bytes)>,
    /// The other end of the connection: the server, or a proxy.
    pub peer: Option<SocketAddr>,
}

/// Listens to one connection.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// Relaxed: read after the end of what it is about.
    reads: AtomicU64,
    /// Whether `head` is written. Relaxed: set before a request is sent, so before its answer.
    listening: AtomicBool,
    head: Mutex<Vec<u8>>,
    pub(super) peer: Option<SocketAddr>,
}

impl Ear {
    pub(super) fn of(peer: Option<SocketAddr>) -> Self {
        Self { peer, ..Self::default() }
    }

    /// How often bytes have come in so far.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(super) fn hear(&self, bytes: &[u8]) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.listening.load(Ordering::Relaxed) {
            let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
            // A hundred bytes for each line of a 1xx before it; what is larger, hyper refuses.
            if head.len() < 2 * MAX_HEAD {
                head.extend_from_slice(bytes);
            }
        }
    }

    /// Writes down what comes from now on.
    pub(super) fn listen(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// The head that came since `listen`, of `count` header lines; None if it is not what hyper
    /// has understood.
    pub(super) fn head(&self, count: usize) -> Option<AsSent> {
        if !self.listening.swap(false, Ordering::Relaxed) {
            return None;
        }
        let heard = std::mem::take(&mut *self.head.lock().unwrap_or_else(PoisonError::into_inner));
        let lines = last_head(&Bytes::from(heard))?;
        (lines.len() == count).then_some(AsSent { lines, peer: self.peer })
    }
}

/// The header lines of the first head that is no 1xx (RFC 9110 §15.2).
fn last_head(heard: &Bytes) -> Option<Vec<(Bytes, Bytes)>> {
    let mut rest = heard.as_ref();
    let mut next = || {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let (line, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    };
    loop {
        let interim = next()?.split(|&byte| byte == b' ').nth(1)?.starts_with(b"1");
        let mut lines = Vec::new();
        loop {
            let line = next()?;
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = value.get(1..)?.trim_ascii();
            lines.push((heard.slice_ref(name), heard.slice_ref(value)));
        }
        if !interim {
            return Some(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &[u8], count: usize) -> Option<Vec<(Bytes, Bytes)>> {
        let ear = Ear::default();
        ear.hear(b"an earlier answer");
        ear.listen();
        for piece in text.chunks(7) {
            ear.hear(piece);
        }
        ear.head(count).map(|sent| sent.lines)
    }

    #[test]
    fn a_head_is_given_as_it_was_sent() {
        let text = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nb:2\r\nX-One:  3 \r\n\r\nbody: x\r\n";
        let lines = heard(text, 3).unwrap();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(lines, [(&b"X-One"[..], &b"1"[..]), (b"b", b"2"), (b"X-One", b"3")]);
    }

    #[test]
    fn interim_heads_are_left_out() {
        let text = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\nA: b\r\n\r\n";
        assert_eq!(heard(text, 1).unwrap()[0].0, "A");
    }

    #[test]
    fn what_hyper_understood_otherwise_is_not_given() {
        assert!(heard(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", 2).is_none());
        assert!(heard(b"HTTP/1.1 200 OK\r\nA: b\r\n", 1).is_none());
        assert!(heard(b"HTTP/1.1\r\n\r\n", 0).is_none());
    }

    #[test]
    fn nothing_is_kept_unless_asked_for() {
        let ear = Ear::default();
        ear.hear(b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!((ear.reads(), ear.head(0).is_none()), (1, true));
    }
}
