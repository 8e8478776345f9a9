//! The body of a request: what is to be sent, and how it gets into hyper piece by piece.
//!
//! [`Content`] is what the caller gave; bytes and files can be opened again for a retry or a
//! redirect, a stream from Python cannot. [`Body`] is one opening of it. Pieces are at most
//! 256 KiB, so that progress can be seen and memory stays bounded whatever the size.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, mpsc};

use crate::error::{Error, Kind, Phase};
use crate::threads::Threads;

/// The most that is read or sent at once; arbitrary, large enough to make the steps cheap.
const PIECE: usize = 256 * 1024;

/// The most of a body in memory that is handed over at once: about the window that a stream of
/// HTTP/2 begins with (RFC 9113 §6.9.2), so that one that does not open shows.
const SMALL: usize = 64 * 1024;

/// Threads that read the files of request bodies.
static READERS: Threads = Threads::new("offloop-read", 8);

/// What a request sends.
#[derive(Clone, Debug, Default)]
pub enum Content {
    /// No body at all.
    #[default]
    Empty,
    /// A body in memory.
    Bytes(Bytes),
    /// Several pieces, one after the other; their length in bytes.
    Pieces(Arc<[Piece]>, u64),
    /// A body that is produced while it is sent; once.
    Stream(Stream),
}

/// A piece of a body that can be read again and again.
#[derive(Clone, Debug)]
pub enum Piece {
    /// In memory.
    Bytes(Bytes),
    /// The whole of this file.
    File(PathBuf),
}

/// The receiving end of an [`Upload`].
#[derive(Clone, Debug)]
pub struct Stream {
    chunks: Arc<Mutex<Option<mpsc::Receiver<Fed>>>>,
    length: Option<u64>,
}

/// What comes through the channel of an upload.
#[derive(Debug)]
enum Fed {
    Chunk(Bytes),
    Failed(Error),
    End,
}

impl Content {
    /// Whether there is a body to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Pieces(..) | Self::Stream(_) => false,
        }
    }

    /// The length of a body in memory.
    pub(super) fn small_len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Empty | Self::Pieces(..) | Self::Stream(_) => 0,
        }
    }

    /// Whether it can be sent (once more).
    pub(super) fn is_replayable(&self) -> bool {
        match self {
            Self::Empty | Self::Bytes(_) | Self::Pieces(..) => true,
            Self::Stream(stream) => lock(&stream.chunks).is_some(),
        }
    }

    /// One opening of the body; `None` when it has been sent already and cannot be again.
    pub(super) fn open(&self) -> Option<Body> {
        let (source, left) = match self {
            Self::Empty => (Source::Empty, Some(0)),
            Self::Bytes(bytes) => (Source::Bytes(bytes.clone()), Some(bytes.len() as u64)),
            Self::Pieces(pieces, length) => {
                (Source::Pieces { pieces: Arc::clone(pieces), at: 0, file: None }, Some(*length))
            }
            Self::Stream(stream) => (Source::Channel(lock(&stream.chunks).take()?), stream.length),
        };
        // A small body is in hyper's hands at once: there is no progress to be watched.
        let small = matches!(&source, Source::Empty)
            || matches!(&source, Source::Bytes(bytes) if bytes.len() <= SMALL);
        let progress = (!small).then(Arc::default);
        Some(Body { source, left, progress })
    }
}

/// The sending end of a streamed body, for whoever produces it.
#[derive(Debug)]
pub struct Upload {
    chunks: Mutex<Option<mpsc::Sender<Fed>>>,
}

impl Upload {
    /// Both ends of a body of `length` bytes, or of unknown length.
    #[must_use]
    pub fn new(length: Option<u64>) -> (Self, Content) {
        let (sender, receiver) = mpsc::channel(1);
        let chunks = Arc::new(Mutex::new(Some(receiver)));
        let upload = Self { chunks: Mutex::new(Some(sender)) };
        (upload, Content::Stream(Stream { chunks, length }))
    }

    /// Hands over the next chunk, once there is room for it.
    ///
    /// # Errors
    /// `Closed` when the request is over.
    pub fn send(&self, chunk: Bytes) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let sender = lock(&self.chunks).clone();
        async move {
            let over = || Error::new(Kind::Closed, "the request is over");
            let sender = sender.ok_or_else(over)?;
            sender.send(Fed::Chunk(chunk)).await.map_err(|_| over())
        }
    }

    /// Nothing more comes: the body is whole.
    pub fn finish(&self) {
        self.end(Fed::End);
    }

    /// Nothing more comes, because its source failed.
    pub fn fail(&self, error: Error) {
        self.end(Fed::Failed(error));
    }

    /// Resolves when the request no longer wants the body.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let sender = lock(&self.chunks).clone();
        async move {
            if let Some(sender) = sender {
                sender.closed().await;
            }
        }
    }

    fn end(&self, last: Fed) {
        let Some(sender) = lock(&self.chunks).take() else { return };
        if let Err(mpsc::error::TrySendError::Full(last)) = sender.try_send(last) {
            let _ = crate::runtime::spawn(async move {
                let _ = sender.send(last).await;
            });
        }
    }
}

/// How far a body has got; shared by the body and by who watches it.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes handed to hyper. Relaxed, as the others: only compared with earlier values.
    sent: AtomicU64,
    began: Instant,
    /// When hyper took the latest piece, and the longest time it took none: microseconds, since
    /// `began` and in all. Written by the body.
    latest: AtomicU64,
    longest: AtomicU64,
    /// Hyper has the last piece. Relaxed: whoever is to act on it is woken by `finished`.
    whole: AtomicBool,
    finished: Notify,
    failure: Mutex<Option<Error>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            sent: AtomicU64::new(0),
            began: Instant::now(),
            latest: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            whole: AtomicBool::new(false),
            finished: Notify::new(),
            failure: Mutex::new(None),
        }
    }
}

impl Progress {
    /// Hyper takes a piece of so many bytes.
    fn note(&self, length: u64) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let pause = now.saturating_sub(self.latest.swap(now, Ordering::Relaxed));
        // What came before the first piece was not spent on sending.
        if self.sent.fetch_add(length, Ordering::Relaxed) > 0 {
            self.longest.fetch_max(pause, Ordering::Relaxed);
        }
    }

    /// Hyper has taken the last piece.
    fn finish(&self) {
        self.whole.store(true, Ordering::Relaxed);
        self.finished.notify_one();
    }

    pub(super) fn is_finished(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// The longest time between two pieces so far, or since the latest one, if more are to come.
    pub(super) fn longest_pause(&self) -> Duration {
        let longest = Duration::from_micros(self.longest.load(Ordering::Relaxed));
        if self.is_finished() {
            return longest;
        }
        let latest = Duration::from_micros(self.latest.load(Ordering::Relaxed));
        longest.max(self.began.elapsed().saturating_sub(latest))
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Resolves when hyper has taken the last piece.
    pub(super) async fn finished(&self) {
        self.finished.notified().await;
    }

    /// Why the body broke off, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }
}

/// One opening of a [`Content`], as hyper reads it.
#[derive(Debug)]
pub(super) struct Body {
    source: Source,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    progress: Option<Arc<Progress>>,
}

enum Source {
    Empty,
    Bytes(Bytes),
    Pieces { pieces: Arc<[Piece]>, at: usize, file: Option<Reading> },
    Channel(mpsc::Receiver<Fed>),
}

type Read1 = Result<(File, Bytes), Error>;

/// A file that is being read by a thread.
type Reading = Pin<Box<dyn Future<Output = Read1> + Send>>;

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Bytes(_) => "Bytes",
            Self::Pieces { .. } => "Pieces",
            Self::Channel(_) => "Channel",
        })
    }
}

/// What hyper is told when the source of a body fails; the reason is in its [`Progress`].
#[derive(Debug)]
pub(super) struct SourceFailed;

impl fmt::Display for SourceFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of the request's body failed")
    }
}

impl std::error::Error for SourceFailed {}

impl Body {
    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }

    /// Its length, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.left
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Bytes(rest) if rest.is_empty() => Poll::Ready(None),
            Source::Bytes(rest) => Poll::Ready(Some(Ok(rest.split_to(rest.len().min(SMALL))))),
            Source::Channel(chunks) => chunks.poll_recv(context).map(|fed| match fed {
                Some(Fed::Chunk(chunk)) => Some(Ok(chunk)),
                Some(Fed::Failed(error)) => Some(Err(error)),
                Some(Fed::End) => None,
                None => Some(Err(Error::new(Kind::Closed, "the source of the body went away"))),
            }),
            Source::Pieces { pieces, at, file } => loop {
                let Some(piece) = pieces.get(*at) else { return Poll::Ready(None) };
                let path = match piece {
                    Piece::Bytes(bytes) => {
                        *at += 1;
                        return Poll::Ready(Some(Ok(bytes.clone())));
                    }
                    Piece::File(path) => path,
                };
                let reading = file.get_or_insert_with(|| open(path.clone()));
                let Poll::Ready(read) = reading.as_mut().poll(context) else {
                    return Poll::Pending;
                };
                match read {
                    Err(error) => return Poll::Ready(Some(Err(error))),
                    Ok((_, chunk)) if chunk.is_empty() => {
                        *file = None;
                        *at += 1;
                    }
                    Ok((handle, chunk)) => {
                        *file = Some(read_on(handle, path.clone()));
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                }
            },
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = SourceFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceFailed>>> {
        let next = std::task::ready!(self.next(context));
        let failed = |this: &Self, error: Error| {
            if let Some(progress) = &this.progress {
                lock(&progress.failure).get_or_insert(error);
            }
            Poll::Ready(Some(Err(SourceFailed)))
        };
        match next {
            Some(Ok(chunk)) => {
                let length = chunk.len() as u64;
                if let Some(left) = &mut self.left {
                    let Some(rest) = left.checked_sub(length) else {
                        return failed(&self, mismatch("more"));
                    };
                    *left = rest;
                }
                if let Some(progress) = &self.progress {
                    progress.note(length);
                    if self.left == Some(0) {
                        progress.finish();
                    }
                }
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Some(Err(error)) => failed(&self, error),
            None if self.left.is_some_and(|left| left > 0) => failed(&self, mismatch("fewer")),
            None => {
                if let Some(progress) = &self.progress {
                    progress.finish();
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn mismatch(how: &str) -> Error {
    let text = format!("the request's body has {how} bytes than its Content-Length says");
    Error::new(Kind::UploadFailed, text).during(Phase::Send)
}

fn open(path: PathBuf) -> Reading {
    Box::pin(async move {
        let opened = READERS.run(move || match File::open(&path) {
            Ok(file) => read(file, &path),
            Err(error) => Err(unreadable(&path, &error)),
        });
        opened.await?
    })
}

fn read_on(file: File, path: PathBuf) -> Reading {
    Box::pin(async move { READERS.run(move || read(file, &path)).await? })
}

fn read(mut file: File, path: &std::path::Path) -> Read1 {
    let mut chunk = Vec::with_capacity(PIECE);
    let most = PIECE as u64;
    let read = (&mut file).take(most).read_to_end(&mut chunk);
    read.map_err(|error| unreadable(path, &error))?;
    Ok((file, chunk.into()))
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::system(Kind::File, &format!("cannot read {}", path.display()), error).during(Phase::Send)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
