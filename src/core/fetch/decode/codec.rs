//! The four content codings, each in steps of one buffer: gzip (RFC 1952), deflate (RFC 1950 and
//! 1951), br (RFC 7932) and zstd (RFC 8878, windows as in RFC 9659).
//!
//! A codec keeps its window and nothing else. It reads everything up to the end of the body:
//! what follows the end of the data is an error, but for what the coding's own tools accept.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use zlib_rs::{Inflate, InflateFlush, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use crate::error::{Error, Kind};

/// The largest window of DEFLATE, 32 KiB, as a power of two.
const DEFLATE_WINDOW: u8 = 15;
/// Added to the window it makes zlib expect a gzip header and trailer.
const GZIP_FRAMED: u8 = 16;
/// 8 MiB: what a decoder has to accept, and a sender must not exceed (RFC 9659 §3).
const ZSTD_WINDOW: u32 = 23;

const TRAILING: &str = "bytes follow its end";

/// A content coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding of this name, in whatever case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let known = [
            ("gzip", Self::Gzip),
            // The old name (RFC 9110 §8.4.1.3).
            ("x-gzip", Self::Gzip),
            ("deflate", Self::Deflate),
            ("br", Self::Brotli),
            ("zstd", Self::Zstd),
        ];
        let found = known.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, coding)| coding)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// A decoder for one body.
    pub(super) fn codec(self) -> Result<Box<dyn Codec>, Error> {
        Ok(match self {
            Self::Gzip => Box::new(Gzip::new()),
            Self::Deflate => Box::new(Deflate::Unread),
            Self::Brotli => Box::new(Brotli::new()),
            Self::Zstd => Box::new(Zstd::new()?),
        })
    }

    /// The failure of a body that is not what it claims to be.
    pub(super) fn invalid(self, reason: &str) -> Error {
        Error::new(Kind::Decode, format!("the body is not valid {}: {reason}", self.name()))
    }
}

/// What became of one step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Bytes of the input that are done with.
    pub(super) read: usize,
    /// Bytes of the output that now count.
    pub(super) written: usize,
}

/// One coding being undone.
pub(super) trait Codec: Send {
    /// Decodes from `input` into `output`, which has room, until one of them is used up, or less:
    /// as long as there is input, every step makes headway. Where the room ran out, a further
    /// step without input gives what was held back.
    ///
    /// The error is the reason, for people.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str>;

    /// Whether the data may end here.
    fn is_finished(&self) -> bool;
}

/// One step of zlib's; true at the end of the data, the checksum of which is right then.
fn inflate(
    inflate: &mut Inflate,
    input: &[u8],
    output: &mut [u8],
) -> Result<(Step, bool), &'static str> {
    let (read, written) = (inflate.total_in(), inflate.total_out());
    let status = inflate
        .decompress(input, output, InflateFlush::NoFlush)
        .map_err(|error| inflate.error_message().unwrap_or(error.as_str()))?;
    let since = |before: u64, now: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
    let read = since(read, inflate.total_in());
    let written = since(written, inflate.total_out());
    Ok((Step { read, written }, status == Status::StreamEnd))
}

/// gzip: members one after the other, and zeros to fill up a block of a tape.
struct Gzip {
    inflate: Inflate,
    place: Place,
}

/// Where in a gzip file.
#[derive(PartialEq, Eq)]
enum Place {
    Member,
    BetweenMembers,
    Padding,
}

impl Gzip {
    fn new() -> Self {
        Self { inflate: Inflate::new(true, GZIP_FRAMED + DEFLATE_WINDOW), place: Place::Member }
    }
}

impl Codec for Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        if self.place == Place::BetweenMembers {
            match input.first() {
                None => return Ok(Step::default()),
                Some(0) => self.place = Place::Padding,
                Some(_) => *self = Self::new(),
            }
        }
        if self.place == Place::Padding {
            let is_zeros = input.iter().all(|&byte| byte == 0);
            return if is_zeros {
                Ok(Step { read: input.len(), written: 0 })
            } else {
                Err(TRAILING)
            };
        }
        let (step, ended) = inflate(&mut self.inflate, input, output)?;
        if ended {
            self.place = Place::BetweenMembers;
        }
        Ok(step)
    }

    fn is_finished(&self) -> bool {
        self.place != Place::Member
    }
}

/// deflate: in zlib's frame as RFC 9110 says, or without as some servers send it.
enum Deflate {
    Unread,
    /// The first byte is not enough to tell.
    Begun(u8),
    Data(Inflate),
    Ended,
}

impl Deflate {
    /// A zlib header is a multiple of 31 with 8 for its method (RFC 1950 §2.2). In raw data, that
    /// 8 would be the padding before a stored block, which everybody fills with zeros.
    fn is_framed(first: u8, second: u8) -> bool {
        first & 0x0f == 8
            && first >> 4 <= 7
            && u16::from_be_bytes([first, second]).is_multiple_of(31)
    }
}

impl Codec for Deflate {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        match (&mut *self, input) {
            (Self::Data(data), _) => {
                let (step, ended) = inflate(data, input, output)?;
                if ended {
                    *self = Self::Ended;
                }
                Ok(step)
            }
            (_, []) => Ok(Step::default()),
            (Self::Unread, [first, ..]) => {
                *self = Self::Begun(*first);
                Ok(Step { read: 1, written: 0 })
            }
            (Self::Begun(first), [second, ..]) => {
                let framed = Self::is_framed(*first, *second);
                let mut data = Inflate::new(framed, DEFLATE_WINDOW);
                // No output and no end can come of a single byte.
                inflate(&mut data, &[*first], output)?;
                *self = Self::Data(data);
                self.step(input, output)
            }
            (Self::Ended, _) => Err(TRAILING),
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self, Self::Ended)
    }
}

/// br: one stream, with a window of at most 16 MiB.
struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    ended: bool,
}

impl Brotli {
    fn new() -> Self {
        // `new` would accept the large windows that are no part of RFC 7932: up to 1 GiB.
        let memory = StandardAlloc::default;
        Self { state: BrotliState::new_strict(memory(), memory(), memory()), ended: false }
    }
}

impl Codec for Brotli {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        if self.ended {
            return if input.is_empty() { Ok(Step::default()) } else { Err(TRAILING) };
        }
        let Step { mut read, mut written } = Step::default();
        let (mut unread, mut room, mut total) = (input.len(), output.len(), 0);
        let result = BrotliDecompressStream(
            &mut unread,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err("its data is corrupt"),
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { read, written })
    }

    fn is_finished(&self) -> bool {
        self.ended
    }
}

/// zstd: frames one after the other, and frames to be skipped.
struct Zstd {
    context: DCtx<'static>,
    between_frames: bool,
}

impl Zstd {
    fn new() -> Result<Self, Error> {
        let no_memory = || Error::new(Kind::Memory, "no memory for a zstd decoder");
        let mut context = DCtx::try_create().ok_or_else(no_memory)?;
        context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW)).map_err(|_| no_memory())?;
        Ok(Self { context, between_frames: false })
    }
}

impl Codec for Zstd {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        if self.between_frames && input.is_empty() {
            return Ok(Step::default());
        }
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
        let wanted = self
            .context
            .decompress_stream(&mut to, &mut from)
            .map_err(zstd_safe::get_error_name)?;
        self.between_frames = wanted == 0;
        Ok(Step { read: from.pos(), written: to.pos() })
    }

    fn is_finished(&self) -> bool {
        self.between_frames
    }
}
