//! The body of a response on its way: off the wire, through the decoder, within its limits.
//!
//! All of this runs on the runtime's thread, in steps of at most 64 KiB of decoded bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use url::Url;

use super::decode::{DecodeLimits, Decoder};
use super::ear::AsSent;
use super::failure;
use super::pool::{Lease, Pool};
use super::stats::{Counters, add};
use super::timeout::{Clock, Timeouts, overdue};
use super::url::redacted;
use crate::error::{Error, Figure, Kind, Phase};

/// The most of an unwanted body that is read so that its connection can be kept; arbitrary.
const DRAIN: u64 = 64 * 1024;
/// And the longest that this may take.
const DRAIN_TIME: Duration = Duration::from_millis(250);
/// Chunks below this are joined: ten million chunks of one byte must not cost ten million
/// allocations.
const SMALL: usize = 4 * 1024;

/// A response whose body has not been read yet. Dropping it closes its connection.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) reason: Option<hyper::ext::ReasonPhrase>,
    pub(super) sent: Option<Arc<AsSent>>,
    /// Boxed: it is handed on from one to the next.
    pub(super) wire: Box<WireBody>,
}

/// Bytes as they come off the wire.
pub(super) struct WireBody {
    incoming: Incoming,
    lease: Option<Lease>,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    url: Arc<Url>,
    clock: Clock,
    timeouts: Arc<Timeouts>,
    /// What Content-Length says.
    announced: Option<u64>,
    pub(super) received: u64,
    stall: Stall,
}

/// The slow-body watch: bytes, and time spent waiting for them, of the present window.
#[derive(Default)]
struct Stall {
    bytes: u64,
    waited: Duration,
}

impl WireBody {
    #[expect(clippy::too_many_arguments, reason = "made in one place, of parts known there")]
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        pool: Arc<Pool>,
        counters: Arc<Counters>,
        url: Arc<Url>,
        clock: Clock,
        timeouts: Arc<Timeouts>,
        announced: Option<u64>,
    ) -> Box<Self> {
        let mut body = Box::new(Self {
            incoming,
            lease: Some(lease),
            pool,
            counters,
            url,
            clock,
            timeouts,
            announced,
            received: 0,
            stall: Stall::default(),
        });
        // A head that ends its stream although it announces a body is found out by `next`.
        if body.incoming.is_end_stream() && body.announced.unwrap_or(0) == 0 {
            body.release();
        }
        body
    }

    /// The next chunk; after the last one the connection is free for others.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.lease.is_none() {
                return Ok(None);
            }
            let incoming = &mut self.incoming;
            let mut waiting = None;
            let frame = poll_fn(|context| {
                let frame = Pin::new(&mut *incoming).poll_frame(context);
                if frame.is_pending() {
                    waiting.get_or_insert_with(Instant::now);
                }
                frame
            });
            let limit = self.timeouts.read;
            let frame = self.clock.limit(Kind::ReadTimeout, Phase::Body, limit, frame).await;
            let waited = waiting.map_or(Duration::ZERO, |since| since.elapsed());
            match frame.map_err(|error| error.at(redacted(&self.url)))? {
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    self.count(chunk.len() as u64, waited)?;
                    if self.incoming.is_end_stream() {
                        self.end()?;
                    }
                    if !chunk.is_empty() {
                        return Ok(Some(chunk));
                    }
                }
                Some(Err(error)) => {
                    let named = failure::name(&error, Phase::Body, &self.url);
                    let short = self.announced.is_some_and(|announced| self.received < announced);
                    return Err(match named.kind {
                        Kind::TruncatedBody => self.truncated(&named.message),
                        Kind::Protocol if short && failure::is_reset(&error) => {
                            self.truncated(&named.message)
                        }
                        _ => named,
                    });
                }
                None => {
                    self.end()?;
                    return Ok(None);
                }
            }
        }
    }

    /// Lets a small rest pass, so that the connection can serve another request.
    ///
    /// Boxed, because it is rare and would make every request's future larger.
    pub(super) fn drain(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let rest = async {
                while let Ok(Some(_)) = self.next().await {
                    if self.received > DRAIN {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
        })
    }

    fn count(&mut self, bytes: u64, waited: Duration) -> Result<(), Error> {
        self.received += bytes;
        add(&self.counters.received, bytes);
        let Some((rate, window)) = self.timeouts.stall else { return Ok(()) };
        self.stall.bytes += bytes;
        self.stall.waited += waited;
        if self.stall.waited >= window {
            #[expect(clippy::cast_precision_loss, reason = "a rate of bytes per second")]
            let slow = (self.stall.bytes as f64) < rate as f64 * self.stall.waited.as_secs_f64();
            if slow {
                let error = overdue(Kind::Stalled, Phase::Body, window);
                return Err(error.at(redacted(&self.url)));
            }
            self.stall = Stall::default();
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.announced.is_some_and(|announced| self.received < announced) {
            return Err(self.truncated("it ended early"));
        }
        self.release();
        Ok(())
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release(&self.pool);
        }
    }

    fn truncated(&self, why: &str) -> Error {
        let shown = redacted(&self.url);
        let text = match self.announced {
            Some(announced) => format!(
                "the body of {shown} was cut short: {} of {announced} bytes came ({why})",
                self.received
            ),
            None => format!("the body of {shown} was cut short after {} bytes", self.received),
        };
        let error = Error::new(Kind::TruncatedBody, text)
            .at(shown)
            .during(Phase::Body)
            .with("received", Figure::Count(self.received));
        match self.announced {
            Some(announced) => error.with("expected", Figure::Count(announced)),
            None => error,
        }
    }
}

impl std::fmt::Debug for DecodedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecodedBody")
    }
}

/// A body decoded, counted, and held to its size.
pub(super) struct DecodedBody {
    wire: Box<WireBody>,
    decoder: Option<Decoder>,
    max_body: Option<u64>,
    decoded: u64,
    /// Time spent in the decoder.
    pub(super) decoding: Duration,
    ended: bool,
}

impl DecodedBody {
    /// # Errors
    /// `Decode` for more than three codings, `BodyTooLarge` for a length that says so.
    pub(super) fn new(
        wire: Box<WireBody>,
        headers: &HeaderMap,
        max_body: Option<u64>,
        max_ratio: Option<u32>,
    ) -> Result<Self, Error> {
        let limits = DecodeLimits { max_ratio, ..DecodeLimits::default() };
        let blame = |error: Error| error.at(redacted(&wire.url)).during(Phase::Body);
        let decoder = Decoder::new(headers, limits).map_err(blame)?;
        let body =
            Self { wire, decoder, max_body, decoded: 0, decoding: Duration::ZERO, ended: false };
        if body.decoder.is_none() && body.wire.lease.is_some() {
            body.check_size(body.wire.announced.unwrap_or(0))?;
        }
        Ok(body)
    }

    pub(super) fn received(&self) -> u64 {
        self.wire.received
    }

    /// How many bytes will come over the wire, where the server has said so.
    pub(super) fn announced(&self) -> Option<u64> {
        self.wire.announced
    }

    /// The body as it is on the wire.
    pub(super) fn into_wire(self) -> Box<WireBody> {
        self.wire
    }

    /// From now on only `read` and `stall` limit the body.
    pub(super) fn unbound(&mut self) {
        self.wire.clock = self.wire.clock.endless();
    }

    /// The next piece: decoded at most 64 KiB, else as it came.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(decoder) = &mut self.decoder else {
                let chunk = self.wire.next().await?;
                if let Some(chunk) = &chunk {
                    self.took(chunk.len() as u64)?;
                }
                return Ok(chunk);
            };
            let began = Instant::now();
            let piece = decoder.pull();
            self.decoding += began.elapsed();
            let url = Arc::clone(&self.wire.url);
            let blame = |error: Error| error.at(redacted(&url)).during(Phase::Body);
            if let Some(piece) = piece.map_err(blame)? {
                // A bomb must not keep the other requests of this thread waiting.
                tokio::task::consume_budget().await;
                self.took(piece.len() as u64)?;
                if piece.is_empty() {
                    continue; // much was read that decodes to nothing
                }
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(chunk) = self.wire.next().await? {
                decoder.push(chunk);
            } else {
                self.ended = true;
                decoder.end().map_err(blame)?;
            }
        }
    }

    /// How many bytes it has, where the server has said so and nothing is decoded.
    pub(super) fn plain_size(&self) -> Option<u64> {
        self.wire.announced.filter(|_| self.decoder.is_none())
    }

    /// All that is still to come, behind what has come.
    pub(super) async fn collect(&mut self, mut whole: Whole) -> Result<Whole, Error> {
        while let Some(piece) = self.next().await? {
            whole.append(piece);
        }
        whole.finish();
        Ok(whole)
    }

    fn took(&mut self, bytes: u64) -> Result<(), Error> {
        self.decoded += bytes;
        add(&self.wire.counters.decoded, bytes);
        self.check_size(self.decoded)
    }

    fn check_size(&self, size: u64) -> Result<(), Error> {
        match self.max_body {
            Some(limit) if size > limit => Err(too_large(limit).at(redacted(&self.wire.url))),
            _ => Ok(()),
        }
    }
}

/// The failure of a body beyond `limit` bytes.
pub(super) fn too_large(limit: u64) -> Error {
    let text = format!("the body is larger than max_body, {limit} bytes");
    let error = Error::new(Kind::BodyTooLarge, text).during(Phase::Body);
    error.with("limit", Figure::Count(limit))
}

/// A body in memory, in the pieces it came in: joined once, where it becomes `bytes`.
#[derive(Debug, Default)]
pub struct Whole {
    pieces: Vec<Bytes>,
    length: usize,
    tail: BytesMut,
}

impl Whole {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The pieces, in order, for whoever lets go of them one by one.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    pub(super) fn append(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() >= SMALL || (self.pieces.is_empty() && self.tail.is_empty()) {
            self.finish();
            self.pieces.push(piece);
        } else {
            if self.tail.len() + piece.len() > 16 * SMALL {
                self.finish();
            }
            self.tail.extend_from_slice(&piece);
        }
    }

    pub(super) fn finish(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }
}
