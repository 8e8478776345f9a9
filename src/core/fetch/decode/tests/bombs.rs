//! Bodies made to use up memory or time.

use zlib_rs::crc32::{crc32, crc32_combine};
use zlib_rs::{Deflate, DeflateFlush};
use zstd_safe::CParameter;

use super::encoded::{Kind as Sent, brotli, chain, whole, zstd};
use super::*;

const MIB: usize = 1024 * 1024;

/// Decodes and counts, and looks after every pull at what the decoder holds.
fn count(decoder: &mut Decoder, chunk: &[u8]) -> Result<u64, Error> {
    let before = decoder.decoded();
    for chunk in chunk.chunks(16 * 1024) {
        decoder.push(Bytes::copy_from_slice(chunk));
        while decoder.pull()?.is_some_and(|piece| piece.len() <= PIECE) {
            for stage in &decoder.stages {
                assert!(stage.input.len() <= PIECE && stage.output.capacity() <= PIECE);
            }
        }
    }
    Ok(decoder.decoded() - before)
}

/// What came out before `BodyTooLarge`.
fn caught(spelling: &str, body: &[u8]) -> u64 {
    let mut decoder = decoder(spelling, DecodeLimits::default());
    let error = count(&mut decoder, body).expect_err(spelling);
    assert_eq!(error.kind, Kind::BodyTooLarge, "{error}");
    decoder.decoded()
}

/// gzip of zeros in three parts, of which the second is 1 MiB and may be repeated.
fn zeros(repeats: u32) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mib = vec![0; MIB];
    let mut deflate = Deflate::new(9, false, 15);
    let mut flushed = |data: &[u8], flush| {
        let (mut body, before) = (vec![0; 4096], deflate.total_out());
        deflate.compress(data, &mut body, flush).unwrap();
        body.truncate(usize::try_from(deflate.total_out() - before).unwrap());
        body
    };
    let middle = flushed(&mib, DeflateFlush::FullFlush);
    let mut end = flushed(&[], DeflateFlush::Finish);
    let one = crc32(0, &mib);
    let checksum = (0..repeats).fold(0, |sum, _| crc32_combine(sum, one, MIB as u64));
    // The length is modulo 2^32 (RFC 1952 §2.3.1).
    end.extend(checksum.to_le_bytes());
    end.extend(repeats.wrapping_mul(1 << 20).to_le_bytes());
    (vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], middle, end)
}

#[test]
fn ten_gigabytes_of_gzip_take_no_memory_and_are_within_the_ratio() {
    // Codecs that are not optimized take minutes.
    let repeats = if cfg!(debug_assertions) { 100 } else { 10_000 };
    let (head, middle, end) = zeros(repeats);
    let mut decoder = decoder("gzip", DecodeLimits::default());
    count(&mut decoder, &head).unwrap();
    for _ in 0..repeats {
        count(&mut decoder, &middle).unwrap();
    }
    count(&mut decoder, &end).unwrap();
    decoder.end().unwrap();
    assert_eq!(decoder.decoded(), u64::from(repeats) * MIB as u64);
    assert!(decoder.decoded() / decoder.received() > 900);
}

#[test]
fn no_other_coding_goes_beyond_the_ratio() {
    let zeros = vec![0; 20 * MIB];
    for kind in [Sent::Brotli, Sent::Zstd] {
        let body = whole(kind, &zeros);
        assert!(caught(kind.name(), &body) <= 12 * MIB as u64, "{kind:?}");
    }
}

#[test]
fn chains_do_not_go_beyond_the_ratio() {
    let zeros = vec![0; 20 * MIB];
    for kinds in [
        &[Sent::Gzip, Sent::Gzip][..],
        &[Sent::Raw, Sent::Zlib],
        &[Sent::Gzip, Sent::XGzip, Sent::Gzip],
        &[Sent::Zstd, Sent::Gzip, Sent::Brotli],
        &[Sent::Brotli, Sent::Brotli, Sent::Brotli],
    ] {
        let (spelling, body) = chain(kinds, &zeros);
        assert!(caught(&spelling, &body) <= 12 * MIB as u64, "{spelling}");
    }
}

#[test]
fn what_decodes_to_nothing_is_counted_between_the_codings() {
    let members = whole(Sent::Gzip, b"").repeat(10 * MIB / 20);
    let skipped = [&[0x5f, 0x2a, 0x4d, 0x18, 0, 0, 0, 1][..], &vec![0; 16 * MIB]].concat();
    for (inner, data) in [(Sent::Gzip, members), (Sent::Zstd, skipped)] {
        for outer in [Sent::Brotli, Sent::Zstd] {
            let (spelling, body) =
                (format!("{}, {}", inner.name(), outer.name()), whole(outer, &data));
            assert_eq!(caught(&spelling, &body), 0, "{spelling}");
        }
    }
}

#[test]
fn a_pull_reads_a_bounded_number_of_bytes() {
    let members = whole(Sent::Gzip, b"").repeat(2 * MIB / 20);
    let limits = DecodeLimits { max_ratio: None, ..DecodeLimits::default() };
    for (spelling, body) in [
        ("gzip", members.clone()),
        ("gzip, br", whole(Sent::Brotli, &members)),
        ("gzip, gzip, zstd", whole(Sent::Zstd, &whole(Sent::Gzip, &members))),
    ] {
        let mut decoder = decoder(spelling, limits);
        decoder.push(body.into());
        let mut pulls = 0;
        while let Some(piece) = decoder.pull().unwrap() {
            assert!(piece.is_empty());
            pulls += 1;
        }
        decoder.end().unwrap();
        assert!(pulls >= members.len() / WORK, "{spelling}: {pulls} pulls");
    }
}

#[test]
fn the_ratio_does_not_matter_at_first() {
    for size in [1, 8] {
        let body = whole(Sent::Brotli, &vec![0; size * MIB]);
        let mut decoder = decoder("br", DecodeLimits::default());
        assert_eq!(count(&mut decoder, &body).unwrap(), (size * MIB) as u64);
        decoder.end().unwrap();
    }
}

#[test]
fn the_ratio_can_be_chosen_or_lifted() {
    let body = whole(Sent::Gzip, &vec![0; 20 * MIB]);
    for (max_ratio, passes) in [(None, true), (Some(1032), true), (Some(500), false)] {
        let mut decoder = decoder("gzip", DecodeLimits { max_ratio, ..DecodeLimits::default() });
        assert_eq!(count(&mut decoder, &body).is_ok(), passes, "{max_ratio:?}");
    }
    let body = whole(Sent::Brotli, &vec![0; 20 * MIB]);
    let limits = DecodeLimits { max_ratio: None, ratio_from: 0 };
    assert_eq!(count(&mut decoder("br", limits), &body).unwrap(), 20 * MIB as u64);
}

#[test]
fn windows_are_bounded() {
    let data = vec![0; 20 * MIB];
    let window = |log| [CParameter::WindowLog(log), CParameter::ContentSizeFlag(false)];
    let limits = DecodeLimits { max_ratio: None, ..DecodeLimits::default() };
    let fits = zstd(&data, &window(23));
    assert_eq!(count(&mut decoder("zstd", limits), &fits).unwrap(), data.len() as u64);
    let too_large = zstd(&data, &window(24));
    assert!(is_invalid(decode("zstd", &[&too_large])));
    let fits = brotli(&data, |options| options.lgwin = 24);
    assert_eq!(count(&mut decoder("br", limits), &fits).unwrap(), data.len() as u64);
    let too_large = brotli(&data, |options| {
        options.large_window = true;
        options.lgwin = 26;
    });
    assert!(is_invalid(decode("br", &[&too_large])));
}
