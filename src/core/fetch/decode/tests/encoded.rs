//! Data encoded for the tests.

use zlib_rs::crc32::crc32;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};
use zstd_safe::{CCtx, CParameter};

/// The six things a server sends under five names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Gzip,
    XGzip,
    Zlib,
    Raw,
    Brotli,
    Zstd,
}

pub(super) const KINDS: [Kind; 6] =
    [Kind::Gzip, Kind::XGzip, Kind::Zlib, Kind::Raw, Kind::Brotli, Kind::Zstd];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::XGzip => "x-gzip",
            Self::Zlib | Self::Raw => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// `data` in one coding.
pub(super) fn whole(kind: Kind, data: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Gzip | Kind::XGzip => deflate(31, 6, data),
        Kind::Zlib => deflate(15, 6, data),
        Kind::Raw => deflate(-15, 6, data),
        Kind::Brotli => brotli(data, |_| {}),
        Kind::Zstd => zstd(data, &[CParameter::ChecksumFlag(true)]),
    }
}

/// The header for `kinds` applied in this order, and the body.
pub(super) fn chain(kinds: &[Kind], data: &[u8]) -> (String, Vec<u8>) {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let body = kinds.iter().fold(data.to_vec(), |data, kind| whole(*kind, &data));
    (names.join(", "), body)
}

/// `window` as zlib has it: 9 to 15, negative without a frame, 16 more for gzip.
pub(super) fn deflate(window: i32, level: i32, data: &[u8]) -> Vec<u8> {
    let config = DeflateConfig { level, window_bits: window, ..DeflateConfig::default() };
    let mut deflate = Deflate::new_with_config(config);
    let mut body = vec![0; data.len() + data.len() / 10 + 100];
    let status = deflate.compress(data, &mut body, DeflateFlush::Finish).unwrap();
    assert_eq!(status, Status::StreamEnd);
    body.truncate(usize::try_from(deflate.total_out()).unwrap());
    body
}

pub(super) fn deflate_at_every_level(data: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let windows = (9..=15).flat_map(|window| [window, -window]);
    windows.flat_map(move |window| (0..=9).map(move |level| deflate(window, level, data)))
}

pub(super) fn brotli(
    data: &[u8],
    adjust: impl FnOnce(&mut brotli::enc::BrotliEncoderParams),
) -> Vec<u8> {
    let mut options = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
    adjust(&mut options);
    let mut body = Vec::new();
    brotli::BrotliCompress(&mut &data[..], &mut body, &options).unwrap();
    body
}

pub(super) fn zstd(data: &[u8], parameters: &[CParameter]) -> Vec<u8> {
    let mut context = CCtx::create();
    for parameter in parameters {
        context.set_parameter(*parameter).unwrap();
    }
    let mut body = vec![0; zstd_safe::compress_bound(data.len())];
    let size = context.compress2(&mut body[..], data).unwrap();
    body.truncate(size);
    body
}

/// A gzip member with `flags` and the fields they announce (RFC 1952 §2.3.1).
pub(super) fn gzip_with(flags: u8, data: &[u8]) -> Vec<u8> {
    let has = |bit: u8| flags & 1 << bit != 0;
    let mut body = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255];
    if has(2) {
        body.extend_from_slice(b"\x06\x00AP\x02\x00ab");
    }
    if has(3) {
        body.extend_from_slice(b"a file name\0");
    }
    if has(4) {
        body.extend_from_slice(b"a comment\0");
    }
    if has(1) {
        let checksum = crc32(0, &body).to_le_bytes();
        body.extend_from_slice(&checksum[..2]);
    }
    body.extend(deflate(-15, 6, data));
    body.extend(crc32(0, data).to_le_bytes());
    body.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    body
}

/// Something that compresses about as well as people's words.
pub(super) fn text(size: usize) -> Vec<u8> {
    let words = ["the ", "coding ", "of ", "a body\n", "is ", "undone ", "(", ") ", "piecemeal, "];
    let picks = noise(size).into_iter().map(|byte| words[usize::from(byte) % words.len()]);
    picks.flat_map(str::bytes).take(size).collect()
}

/// Bytes that do not compress (xorshift64, Marsaglia 2003).
pub(super) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(&mut next).take(size).collect()
}
