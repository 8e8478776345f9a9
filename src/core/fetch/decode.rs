//! Content codings: from the bytes of the wire to those the sender meant (RFC 9110 §8.4).
//!
//! A [`Decoder`] is a chain of up to three codings that does no input or output of its own:
//! chunks are pushed in, pieces are pulled out. It runs on the runtime's thread, which other
//! requests share, so that a pull is bounded in memory (64 KiB between two codings, and their
//! windows) and in work, whatever the bytes say. `codec` knows the codings, one by one.

mod codec;
#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use self::codec::{Codec, Coding, Step};
use crate::error::{Error, Figure, Kind};

/// The most bytes of one piece.
const PIECE: usize = 64 * 1024;
/// A piece of at least this much leaves in the buffer it was made in; others are copied, lest
/// they keep much more memory than they need. Arbitrary.
const SNUG: usize = PIECE / 8 * 7;
/// The most bytes that the codings together read in one pull. Incompressible bytes in three
/// codings need 192 KiB for a piece; more only what is made to decode to nothing.
const WORK: usize = 4 * PIECE;
/// More codings than anybody uses are an attack on the decoder.
const MAX_CODINGS: usize = 3;

/// What an honest body stays below.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecodeLimits {
    /// The most bytes decoded for each byte received; counted for each coding of a chain.
    pub(super) max_ratio: Option<u32>,
    /// The ratio does not matter before this many bytes.
    pub(super) ratio_from: u64,
}

impl Default for DecodeLimits {
    /// DEFLATE cannot exceed 1,032, so that honest gzip never gets to 1,100.
    fn default() -> Self {
        Self { max_ratio: Some(1100), ratio_from: 8 * 1024 * 1024 }
    }
}

/// Undoes the codings of one body.
pub(super) struct Decoder {
    /// In the order in which they are undone: the last one applied comes first.
    stages: Vec<Stage>,
    meter: Meter,
    decoded: u64,
}

impl Decoder {
    /// The decoder that `headers` ask for. None if there is nothing to undo, or if one of the
    /// codings is not known: the body is left as it is.
    ///
    /// # Errors
    /// `Decode` for more than three codings, `Memory` without.
    pub(super) fn new(headers: &HeaderMap, limits: DecodeLimits) -> Result<Option<Self>, Error> {
        let Some(codings) = codings(headers) else { return Ok(None) };
        if codings.is_empty() {
            return Ok(None);
        }
        if codings.len() > MAX_CODINGS {
            let count = codings.len();
            let text = format!("the body has {count} content codings, more than {MAX_CODINGS}");
            return Err(Error::new(Kind::Decode, text));
        }
        let stages = codings.into_iter().rev().map(Stage::new).collect::<Result<_, _>>()?;
        let meter = Meter { limits, received: 0, work: 0 };
        Ok(Some(Self { stages, meter, decoded: 0 }))
    }

    /// Takes a chunk from the wire, when [`Self::pull`] has nothing more to give.
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.meter.received += chunk.len() as u64;
        if let Some(first) = self.stages.first_mut() {
            first.feed(chunk);
        }
    }

    /// The next piece, at most 64 KiB; None when more input is needed. An empty piece says that
    /// much was read that decodes to nothing, and that it is somebody else's turn before more.
    ///
    /// # Errors
    /// `Decode`, or `BodyTooLarge` for a body that grows beyond the ratio. All later calls are
    /// meaningless.
    pub(super) fn pull(&mut self) -> Result<Option<Bytes>, Error> {
        self.meter.work = WORK;
        let piece = pull(&mut self.stages, &mut self.meter)?;
        self.decoded += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    /// Says that no more input will come. Everything has to be pulled before.
    ///
    /// # Errors
    /// `Decode` when a coding ends in the middle. No bytes at all are no error: they are what
    /// HEAD and 304 have for a body.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self.stages.iter().find(|stage| !stage.is_finished()) {
            Some(stage) if self.meter.received > 0 => {
                let text = format!("the body ends in the middle of its {}", stage.coding.name());
                Err(Error::new(Kind::Decode, text))
            }
            _ => Ok(()),
        }
    }

    /// The bytes given out.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests count"))]
    pub(super) fn decoded(&self) -> u64 {
        self.decoded
    }

    /// The bytes taken in.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests count"))]
    pub(super) fn received(&self) -> u64 {
        self.meter.received
    }
}

/// The codings in the order in which they were applied; None if one is not known.
fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',') {
            // Lists may have empty elements (RFC 9110 §5.6.1).
            let name = name.trim_matches([' ', '\t']);
            if !name.is_empty() && !name.eq_ignore_ascii_case("identity") {
                codings.push(Coding::named(name)?);
            }
        }
    }
    Some(codings)
}

/// What the stages have to keep to.
struct Meter {
    limits: DecodeLimits,
    /// Bytes from the wire.
    received: u64,
    /// Bytes that may still be read in this pull.
    work: usize,
}

impl Meter {
    /// Whether `given` bytes can have come of those received.
    fn check(&self, given: u64) -> Result<(), Error> {
        let Some(ratio) = self.limits.max_ratio else { return Ok(()) };
        let limit = self.received.saturating_mul(u64::from(ratio)).max(self.limits.ratio_from);
        if given <= limit {
            return Ok(());
        }
        let received = self.received;
        let text = format!(
            "{received} bytes of the body decode to more than {limit}, \
             which is beyond max_decompression_ratio, {ratio}"
        );
        Err(Error::new(Kind::BodyTooLarge, text).with("limit", Figure::Count(limit)))
    }
}

/// One coding at work.
struct Stage {
    coding: Coding,
    codec: Box<dyn Codec>,
    /// What it has not read yet.
    input: Bytes,
    /// The piece in the making: `filled` bytes, then room. Empty until needed.
    output: Vec<u8>,
    filled: usize,
    /// Whether the codec may hold back bytes for which there was no room.
    pending: bool,
    /// The bytes given so far.
    given: u64,
}

impl Stage {
    fn new(coding: Coding) -> Result<Self, Error> {
        let (codec, input, output) = (coding.codec()?, Bytes::new(), Vec::new());
        Ok(Self { coding, codec, input, output, filled: 0, pending: false, given: 0 })
    }

    fn feed(&mut self, chunk: Bytes) {
        self.input = if self.input.is_empty() {
            chunk
        } else {
            [self.input.as_ref(), chunk.as_ref()].concat().into()
        };
    }

    /// Decodes until the input is used up; true if the piece was full, or the work done, before.
    fn run(&mut self, meter: &mut Meter) -> Result<bool, Error> {
        while self.filled < PIECE && meter.work > 0 {
            if self.input.is_empty() && !self.pending {
                return Ok(false);
            }
            self.output.resize(PIECE, 0);
            let input = self.input.get(..meter.work).unwrap_or(&self.input);
            let room = self.output.get_mut(self.filled..).unwrap_or_default();
            let size = room.len();
            let Step { read, written } =
                self.codec.step(input, room).map_err(|reason| self.coding.invalid(reason))?;
            if read == 0 && written == 0 && !self.input.is_empty() {
                return Err(self.coding.invalid("it leads nowhere"));
            }
            self.input.advance(read);
            self.filled += written;
            self.pending = written == size;
            self.given += written as u64;
            meter.work -= read;
            meter.check(self.given)?;
        }
        Ok(true)
    }

    /// The piece as far as it is made.
    fn take(&mut self) -> Bytes {
        let filled = std::mem::take(&mut self.filled);
        if filled < SNUG {
            return Bytes::copy_from_slice(self.output.get(..filled).unwrap_or_default());
        }
        let mut piece = std::mem::take(&mut self.output);
        piece.truncate(filled);
        piece.into()
    }

    /// Whether the body may end here.
    fn is_finished(&self) -> bool {
        self.input.is_empty() && self.filled == 0 && self.codec.is_finished()
    }
}

/// The next piece of the last of `stages`, each of which reads what the one before it gives.
fn pull(stages: &mut [Stage], meter: &mut Meter) -> Result<Option<Bytes>, Error> {
    let Some((last, before)) = stages.split_last_mut() else { return Ok(None) };
    while !last.run(meter)? {
        match pull(before, meter)? {
            Some(input) => last.feed(input),
            None if last.filled == 0 => return Ok(None),
            None => break,
        }
    }
    Ok(Some(last.take()))
}
