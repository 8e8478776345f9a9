//! Carries one body to the disk: a reader takes pieces off the wire while a writer has the last ones
//! written, and neither gets far ahead of the other.
//!
//! Both are halves of one future on the runtime; the writes themselves run on `DISK`'s threads.
//! What has come is written even if the body then breaks off.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::meter::Meter;
use super::part::{DISK, Part};
use crate::error::{Error, Kind, Phase};
use crate::fetch::Opened;

/// Bytes that are worth a trip to a thread. Arbitrary: not measured against other sizes.
const BATCH: usize = 512 * 1024;
/// Bytes that may wait for the writer, of one body.
const WAITING: usize = 2 * BATCH;
/// How long fewer bytes than a batch wait for more: what a kill can cost of a slow download.
const PATIENCE: Duration = Duration::from_millis(20);
/// Pieces below this are joined.
const SMALL: usize = 16 * 1024;

/// Why a body has not come whole.
#[derive(Debug)]
pub(super) enum Broken {
    /// The way from the server: worth another try.
    Wire(Error),
    /// The disk, or a limit: final.
    Final(Error),
    /// The body is longer than the server said.
    Overlong,
}

/// Bytes between the two halves.
#[derive(Default)]
struct Buffer {
    state: Mutex<Waiting>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct Waiting {
    pieces: Vec<Bytes>,
    bytes: usize,
    ended: bool,
}

/// One body on its way into a part.
pub(super) struct Flow<'transfer> {
    pub(super) part: &'transfer Arc<Part>,
    pub(super) meter: &'transfer Meter,
    /// The segment of the plan that it fills.
    pub(super) number: u64,
    /// Where the server said that this body ends, if it said so.
    pub(super) end: Option<u64>,
    pub(super) max_bytes: Option<u64>,
}

impl Flow<'_> {
    /// Brings the body to the disk, as far as the segment goes.
    pub(super) async fn run(&self, mut opened: Opened) -> Result<(), Broken> {
        let Some(segment) = self.part.plan().segment(self.number) else { return Ok(()) };
        let buffer = Buffer::default();
        let mut reading = pin!(async {
            let read = self.read(&mut opened, &buffer).await;
            buffer.lock().ended = true;
            buffer.filled.notify_one();
            read
        });
        let mut writing = pin!(self.write(&buffer, segment.next));
        let mut read = None;
        poll_fn(|context| {
            if read.is_none()
                && let Poll::Ready(outcome) = reading.as_mut().poll(context)
            {
                read = Some(outcome);
            }
            // The writer ends after the reader, unless the disk fails.
            writing.as_mut().poll(context)
        })
        .await
        .map_err(Broken::Final)?;
        read.unwrap_or(Ok(()))
    }

    async fn read(&self, opened: &mut Opened, buffer: &Buffer) -> Result<(), Broken> {
        loop {
            let Some(mut piece) = opened.next().await.map_err(Broken::Wire)? else {
                return self.ended();
            };
            let length = piece.len() as u64;
            let (wanted, at) = {
                let mut plan = self.part.plan();
                let wanted = plan.claim(self.number, length);
                (wanted, plan.segment(self.number))
            };
            let Some(at) = at else { return Ok(()) };
            if let Some(limit) = self.max_bytes.filter(|&limit| at.next > limit) {
                return Err(Broken::Final(too_large(limit)));
            }
            if wanted < length {
                piece.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            }
            buffer.put(piece).await;
            if wanted < length {
                // Somebody else has the rest, unless there was to be none.
                let overlong = self.end.is_some_and(|end| at.next >= end);
                return if overlong { Err(Broken::Overlong) } else { Ok(()) };
            }
            if at.end == Some(at.next) && self.end.is_none_or(|end| at.next < end) {
                return Ok(());
            }
        }
    }

    /// The body has ended: where it should have?
    fn ended(&self) -> Result<(), Broken> {
        let mut plan = self.part.plan();
        let Some(segment) = plan.segment(self.number) else { return Ok(()) };
        match segment.end {
            Some(end) if segment.next < end => {
                let text = format!("the body ended early, at byte {} of {end}", segment.next);
                Err(Broken::Wire(Error::new(Kind::TruncatedBody, text).during(Phase::Body)))
            }
            Some(_) => Ok(()),
            None => {
                // Nobody had said how long it is; its end was framed, so this is it.
                plan.set_total(segment.next);
                drop(plan);
                let mut entity = self.part.entity();
                entity.total = Some(segment.next);
                self.part.set_entity(entity);
                Ok(())
            }
        }
    }

    async fn write(&self, buffer: &Buffer, mut offset: u64) -> Result<(), Error> {
        let epoch = self.part.epoch();
        while let Some(pieces) = buffer.take().await {
            let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            let part = Arc::clone(self.part);
            DISK.run(move || part.write(epoch, offset, &pieces)).await??;
            self.meter.add(bytes);
            offset += bytes;
        }
        Ok(())
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a piece, and then waits until there is room for another one.
    async fn put(&self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        {
            let mut waiting = self.lock();
            waiting.bytes += piece.len();
            waiting.append(piece);
        }
        self.filled.notify_one();
        loop {
            let emptied = self.emptied.notified();
            if self.lock().bytes < WAITING {
                return;
            }
            emptied.await;
        }
    }

    /// A batch, or after a while what there is; None at the end.
    async fn take(&self) -> Option<Vec<Bytes>> {
        let enough = async {
            loop {
                let filled = self.filled.notified();
                {
                    let waiting = self.lock();
                    if waiting.bytes >= BATCH || waiting.ended {
                        return;
                    }
                }
                filled.await;
            }
        };
        let something = async {
            loop {
                let filled = self.filled.notified();
                {
                    let waiting = self.lock();
                    if waiting.bytes > 0 || waiting.ended {
                        return;
                    }
                }
                filled.await;
            }
        };
        something.await;
        // Whether enough has come or the time is over, what there is goes.
        let _ = tokio::time::timeout(PATIENCE, enough).await;
        let mut waiting = self.lock();
        let (pieces, _) = (std::mem::take(&mut waiting.pieces), std::mem::take(&mut waiting.bytes));
        drop(waiting);
        self.emptied.notify_one();
        (!pieces.is_empty()).then_some(pieces)
    }
}

impl Waiting {
    /// Appends; what is small is joined with what is before it, so that a body of tiny pieces
    /// costs no system call for each.
    fn append(&mut self, piece: Bytes) {
        let joins = |last: &Bytes| last.len() + piece.len() <= 4 * SMALL;
        if piece.len() < SMALL
            && self.pieces.last().is_some_and(joins)
            && let Some(last) = self.pieces.pop()
        {
            let mut joined = last.try_into_mut().unwrap_or_else(|last| {
                let mut copied = BytesMut::with_capacity(4 * SMALL);
                copied.extend_from_slice(&last);
                copied
            });
            joined.extend_from_slice(&piece);
            self.pieces.push(joined.freeze());
        } else {
            self.pieces.push(piece);
        }
    }
}

/// The failure of a download beyond `limit` bytes.
pub(super) fn too_large(limit: u64) -> Error {
    let text = format!("the file is larger than max_bytes, {limit} bytes");
    let error = Error::new(Kind::BodyTooLarge, text).during(Phase::Body);
    error.with("limit", crate::error::Figure::Count(limit))
}
