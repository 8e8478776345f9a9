//! A streamed body between the network and a reader who takes his time.
//!
//! A task reads ahead, counted in bytes and not in chunks, and stops while the reader has enough
//! to do. So a slow reader holds up the server and not the memory, and no time limit of the
//! network runs while it is the reader who is waited for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::body::{DecodedBody, Whole, WireBody, too_large};
use crate::error::{Error, Kind, Phase};
use crate::runtime;

/// Bytes kept ready for one reader.
const AHEAD: usize = 256 * 1024;
/// Bytes kept ready for all readers together; beyond it each gets one piece at a time.
const ALL_AHEAD: usize = 64 * 1024 * 1024;

/// Bytes kept ready at this moment. Relaxed: a bound that may be missed by a piece.
static BUFFERED: AtomicUsize = AtomicUsize::new(0);

/// A body that has not begun to be read, then one that is read as it is, or decoded.
#[derive(Debug)]
pub struct ReadAhead {
    shared: Arc<Shared>,
    task: Mutex<Option<AbortHandle>>,
    /// How far it has begun. Written by `begin`, `start` and `close`.
    beginning: Mutex<Beginning>,
}

#[derive(Debug)]
enum Beginning {
    /// Nobody has said how it is to be read.
    Whole(Box<DecodedBody>),
    /// Nobody has asked for a piece: the connection is in use, and the network is left alone.
    Chosen(Source),
    Begun,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Bytes>,
    bytes: usize,
    received: u64,
    end: Option<Result<(), Error>>,
}

impl ReadAhead {
    pub(super) fn new(source: DecodedBody) -> Self {
        let beginning = Mutex::new(Beginning::Whole(Box::new(source)));
        Self { shared: Arc::default(), task: Mutex::default(), beginning }
    }

    /// Has it read decoded, or as it comes off the wire, from the first `next` on.
    ///
    /// # Errors
    /// `StreamMisused` when it has begun before.
    pub fn begin(&self, raw: bool) -> Result<(), Error> {
        let mut beginning = lock(&self.beginning);
        match std::mem::replace(&mut *beginning, Beginning::Begun) {
            Beginning::Whole(source) => {
                let source =
                    if raw { Source::Raw(source.into_wire()) } else { Source::Decoded(source) };
                *beginning = Beginning::Chosen(source);
                Ok(())
            }
            other => {
                *beginning = other;
                let text = "the body of this response has been read, or is being read, already";
                Err(Error::new(Kind::StreamMisused, text))
            }
        }
    }

    /// Lets the reader loose. Called on tokio's thread, where that wakes nobody.
    fn start(&self) -> Result<(), Error> {
        // Held until the task is known, so that `close` finds the one or the other.
        let mut beginning = lock(&self.beginning);
        let source = match std::mem::replace(&mut *beginning, Beginning::Begun) {
            Beginning::Chosen(source) => source,
            other => {
                *beginning = other;
                return Ok(());
            }
        };
        let shared = Arc::clone(&self.shared);
        let reader = async move {
            let how = fill(&shared, source).await;
            end(&shared, how);
        };
        *lock(&self.task) = Some(runtime::spawn(reader)?);
        Ok(())
    }

    /// What is ready, up to `most` bytes, without waiting: `None` if nothing is yet.
    pub fn try_next(&self, most: usize) -> Option<Result<Option<Bytes>, Error>> {
        let mut state = lock(&self.shared.state);
        if state.ready.is_empty() {
            let end = state.end.as_mut()?;
            return Some(std::mem::replace(end, Ok(())).map(|()| None));
        }
        let piece = take(&mut state, most);
        drop(state);
        self.shared.emptied.notify_one();
        Some(Ok(Some(piece)))
    }

    /// The next piece, up to `most` bytes; `None` after the last one.
    ///
    /// # Errors
    /// Whatever went wrong on the way; pieces handed out before stay valid.
    pub async fn next(&self, most: usize) -> Result<Option<Bytes>, Error> {
        self.start()?;
        loop {
            let filled = self.shared.filled.notified();
            if let Some(piece) = self.try_next(most) {
                return piece;
            }
            filled.await;
        }
    }

    /// All that is still to come.
    ///
    /// # Errors
    /// As `next`; `BodyTooLarge` beyond `limit` bytes.
    pub async fn collect(&self, limit: Option<u64>) -> Result<Whole, Error> {
        let mut whole = Whole::default();
        while let Some(piece) = self.next(AHEAD).await? {
            whole.append(piece);
            if let Some(limit) = limit.filter(|&limit| whole.len() as u64 > limit) {
                self.close();
                return Err(too_large(limit));
            }
        }
        whole.finish();
        Ok(whole)
    }

    /// Whether reading has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(&*lock(&self.beginning), Beginning::Whole(_))
    }

    /// Whether all that came has been taken.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let state = lock(&self.shared.state);
        state.end.is_some() && state.ready.is_empty()
    }

    /// Bytes that came off the wire so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        lock(&self.shared.state).received
    }

    /// Closes the connection, unless the body has been read to its end.
    pub fn close(&self) {
        if runtime::check_alive().is_err() {
            return; // a forked child: the connection is the parent's
        }
        let source = std::mem::replace(&mut *lock(&self.beginning), Beginning::Begun);
        drop(source);
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
        self.shared.close();
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Puts a piece down for the reader; false after the last one, and when nobody will read it:
    /// a task that is stopped in the middle of a step ends that step first.
    fn take(&self, piece: Option<Bytes>, received: u64) -> bool {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return false;
        }
        state.received = received;
        let Some(piece) = piece else { return false };
        state.bytes += piece.len();
        BUFFERED.fetch_add(piece.len(), Ordering::Relaxed);
        append(&mut state.ready, piece);
        true
    }

    /// Lets go of what is ready; nothing is put down from here on.
    fn close(&self) {
        let mut state = lock(&self.state);
        BUFFERED.fetch_sub(state.bytes, Ordering::Relaxed);
        let left = (std::mem::take(&mut state.ready), std::mem::take(&mut state.bytes));
        if state.end.is_none() {
            let text = "the response has been closed";
            state.end = Some(Err(Error::new(Kind::Closed, text).during(Phase::Body)));
        }
        drop(state);
        drop(left);
        self.filled.notify_one();
    }
}

enum Source {
    Raw(Box<WireBody>),
    Decoded(Box<DecodedBody>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw(_) => "Raw",
            Self::Decoded(_) => "Decoded",
        })
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Raw(wire) => wire.next().await,
            Self::Decoded(body) => body.next().await,
        }
    }

    fn received(&self) -> u64 {
        match self {
            Self::Raw(wire) => wire.received,
            Self::Decoded(body) => body.received(),
        }
    }
}

/// Writes down how the body ended; one that has been closed before stays that.
fn end(shared: &Shared, how: Result<(), Error>) {
    lock(&shared.state).end.get_or_insert(how);
    shared.filled.notify_one();
}

async fn fill(shared: &Shared, mut source: Source) -> Result<(), Error> {
    loop {
        let piece = source.next().await?;
        if !shared.take(piece, source.received()) {
            return Ok(());
        }
        shared.filled.notify_one();
        loop {
            let emptied = shared.emptied.notified();
            if has_room(&lock(&shared.state)) {
                break;
            }
            emptied.await;
        }
    }
}

fn has_room(state: &State) -> bool {
    state.bytes == 0 || (state.bytes < AHEAD && BUFFERED.load(Ordering::Relaxed) < ALL_AHEAD)
}

/// Joins small pieces, which would cost more in a queue than they hold.
fn append(ready: &mut VecDeque<Bytes>, piece: Bytes) {
    const SMALL: usize = 4 * 1024;
    if piece.len() < SMALL
        && let Some(last) = ready.pop_back()
    {
        if last.len() >= 16 * SMALL {
            ready.push_back(last);
            ready.push_back(piece);
            return;
        }
        let mut joined = last.try_into_mut().unwrap_or_else(|last| {
            let mut copied = BytesMut::with_capacity(16 * SMALL);
            copied.extend_from_slice(&last);
            copied
        });
        joined.extend_from_slice(&piece);
        ready.push_back(joined.freeze());
        return;
    }
    ready.push_back(piece);
}

/// As much as is ready, up to `most` bytes, in one piece.
fn take(state: &mut State, most: usize) -> Bytes {
    let most = most.max(1);
    let mut first = state.ready.pop_front().unwrap_or_default();
    if first.len() > most {
        let rest = first.split_off(most);
        state.ready.push_front(rest);
    } else if state.ready.front().is_some_and(|next| first.len() + next.len() <= most) {
        let mut joined = BytesMut::from(first);
        while let Some(next) = state.ready.pop_front() {
            if joined.len() + next.len() > most {
                state.ready.push_front(next);
                break;
            }
            joined.extend_from_slice(&next);
        }
        first = joined.freeze();
    }
    state.bytes -= first.len();
    BUFFERED.fetch_sub(first.len(), Ordering::Relaxed);
    first
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
