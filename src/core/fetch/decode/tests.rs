//! Bodies as servers send them: whole, in pieces, cut, spelled in many ways, and followed by
//! what does not belong to them. `bombs` has those that nobody sends in good faith.

mod bombs;
mod encoded;

use self::encoded::{KINDS, Kind as Sent, chain, gzip_with, noise, text, whole};
use super::*;

/// Decodes a body that comes in `chunks`, to the end.
fn decode(spelling: &str, chunks: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let mut decoder = decoder(spelling, DecodeLimits::default());
    let mut body = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(piece) = decoder.pull()? {
            assert!(piece.len() <= PIECE);
            body.extend_from_slice(&piece);
        }
    }
    decoder.end()?;
    assert!(decoder.pull()?.is_none());
    assert_eq!(decoder.decoded(), body.len() as u64);
    assert_eq!(decoder.received(), chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
    Ok(body)
}

fn decoder(spelling: &str, limits: DecodeLimits) -> Decoder {
    Decoder::new(&headers(&[spelling]), limits).unwrap().expect(spelling)
}

fn headers(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (CONTENT_ENCODING, value.parse().unwrap())).collect()
}

fn is_invalid(outcome: Result<Vec<u8>, Error>) -> bool {
    outcome.is_err_and(|error| error.kind == Kind::Decode)
}

/// Every coding, every pair, and 36 triples with every coding at every place.
fn chains() -> impl Iterator<Item = Vec<Sent>> {
    let pick = |index: usize| KINDS[index % KINDS.len()];
    let singles = (0..6).map(move |a| vec![pick(a)]);
    let pairs = (0..36).map(move |i| vec![pick(i), pick(i / 6)]);
    let triples = (0..36).map(move |i| vec![pick(i), pick(i / 6), pick(i + i / 6 + 1)]);
    singles.chain(pairs).chain(triples)
}

#[test]
fn every_chain_comes_back_wherever_it_is_split() {
    for kinds in chains() {
        let (spelling, body) = chain(&kinds, &text(60));
        assert_eq!(decode(&spelling, &[&body]).unwrap(), text(60), "{spelling}");
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert_eq!(decode(&spelling, &[head, tail]).unwrap(), text(60), "{spelling} at {at}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(&spelling, &bytes).unwrap(), text(60), "{spelling} in bytes");
    }
}

#[test]
fn every_chain_is_an_error_wherever_it_is_cut() {
    for kinds in chains() {
        let (spelling, body) = chain(&kinds, &text(60));
        for at in 1..body.len() {
            assert!(is_invalid(decode(&spelling, &[&body[..at]])), "{spelling} cut at {at}");
        }
    }
}

#[test]
fn the_empty_body_needs_no_coding() {
    for kind in KINDS {
        assert_eq!(decode(kind.name(), &[]).unwrap(), b"");
        assert_eq!(decode(kind.name(), &[b"", b""]).unwrap(), b"");
        assert_eq!(decode(kind.name(), &[&whole(kind, b"")]).unwrap(), b"");
    }
    assert!(is_invalid(decode("br, gzip", &[&whole(Sent::Gzip, b"")])));
}

#[test]
fn pieces_end_where_they_have_to() {
    let sizes = [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 17, 1_000_000];
    for data in sizes.into_iter().flat_map(|size| [text(size), noise(size), vec![0; size]]) {
        for kind in KINDS {
            let body = whole(kind, &data);
            assert!(decode(kind.name(), &[&body]).unwrap() == data, "{kind:?}");
            let chunks: Vec<&[u8]> = body.chunks(1400).collect();
            assert!(decode(kind.name(), &chunks).unwrap() == data, "{kind:?}");
        }
        let (spelling, body) = chain(&[Sent::Zstd, Sent::Brotli, Sent::Gzip], &data);
        assert!(decode(&spelling, &[&body]).unwrap() == data);
    }
}

#[test]
fn chunks_pushed_too_early_wait() {
    let body = whole(Sent::Gzip, &text(1000));
    let mut decoder = decoder("gzip", DecodeLimits::default());
    body.chunks(7).for_each(|chunk| decoder.push(Bytes::copy_from_slice(chunk)));
    assert_eq!(decoder.pull().unwrap().unwrap(), text(1000));
    assert!(decoder.pull().unwrap().is_none());
}

#[test]
fn every_spelling_is_understood() {
    let (gzip, both) = (whole(Sent::Gzip, b"x"), chain(&[Sent::Gzip, Sent::Brotli], b"x").1);
    for (values, body) in [
        (&["gzip"][..], &gzip),
        (&["GZIP"], &gzip),
        (&["x-gzip"], &gzip),
        (&["X-GZip"], &gzip),
        (&[" gzip\t"], &gzip),
        (&["gzip,"], &gzip),
        (&[", ,gzip"], &gzip),
        (&["identity, gzip"], &gzip),
        (&["gzip", "Identity"], &gzip),
        (&["gzip, br"], &both),
        (&["gzip,BR"], &both),
        (&["x-gzip", "br"], &both),
    ] {
        let mut decoder =
            Decoder::new(&headers(values), DecodeLimits::default()).unwrap().expect("a decoder");
        decoder.push(body.clone().into());
        assert_eq!(decoder.pull().unwrap().unwrap(), "x", "{values:?}");
    }
}

#[test]
fn what_has_no_known_coding_is_left_alone() {
    let unknown = "compress, gzip, gzip, gzip, gzip";
    for values in [&[][..], &[""], &[","], &["identity"], &["foo"], &["gzip, foo"], &[unknown]] {
        let headers = headers(values);
        assert!(Decoder::new(&headers, DecodeLimits::default()).unwrap().is_none(), "{values:?}");
    }
    let mut headers = headers(&["gzip"]);
    headers.append(CONTENT_ENCODING, http::HeaderValue::from_bytes(b"gz\xefp").unwrap());
    assert!(Decoder::new(&headers, DecodeLimits::default()).unwrap().is_none());
}

#[test]
fn a_fourth_coding_is_refused() {
    let headers = headers(&["gzip, br", "zstd, deflate"]);
    let error = Decoder::new(&headers, DecodeLimits::default()).err().unwrap();
    assert_eq!(error.kind, Kind::Decode);
}

#[test]
fn all_members_and_frames_are_decoded() {
    for kind in [Sent::Gzip, Sent::Zstd] {
        let body = [whole(kind, b"one "), whole(kind, b""), whole(kind, b"two")].concat();
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert_eq!(decode(kind.name(), &[head, tail]).unwrap(), b"one two");
        }
    }
    let skipped = |bytes: &[u8]| {
        let size = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        [&[0x5f, 0x2a, 0x4d, 0x18], &size[..], bytes].concat()
    };
    let frame = whole(Sent::Zstd, b"data");
    let body = [skipped(b"before"), frame.clone(), skipped(b""), frame, skipped(b"!")].concat();
    for at in 0..=body.len() {
        let (head, tail) = body.split_at(at);
        assert_eq!(decode("zstd", &[head, tail]).unwrap(), b"datadata");
    }
    assert!(is_invalid(decode("zstd", &[&body[..body.len() - 1]])));
}

#[test]
fn only_zeros_may_follow_gzip() {
    let body = whole(Sent::Gzip, b"data");
    let padded = [&body[..], &[0; 512]].concat();
    for at in 0..=padded.len() {
        let (head, tail) = padded.split_at(at);
        assert_eq!(decode("gzip", &[head, tail]).unwrap(), b"data");
    }
    let member_after_padding = [&padded[..], &body].concat();
    assert!(is_invalid(decode("gzip", &[&member_after_padding])));
    assert!(is_invalid(decode("gzip", &[&[0; 512]])));
    for garbage in [&b"\n"[..], b"garbage", b"\0garbage", &body[..1], &body[..9]] {
        let body = [&body[..], garbage].concat();
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert!(is_invalid(decode("gzip", &[head, tail])), "{garbage:?} split at {at}");
        }
    }
}

#[test]
fn nothing_may_follow_the_other_codings() {
    for kind in [Sent::Zlib, Sent::Raw, Sent::Brotli, Sent::Zstd] {
        for garbage in [&b"\0"[..], b"\n", b"garbage"] {
            let body = [&whole(kind, b"data"), garbage].concat();
            for at in 0..=body.len() {
                let (head, tail) = body.split_at(at);
                assert!(is_invalid(decode(kind.name(), &[head, tail])), "{kind:?} {garbage:?}");
            }
        }
    }
}

#[test]
fn optional_gzip_fields_are_read_over() {
    for flags in 0..32 {
        let body = gzip_with(flags, b"data");
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert_eq!(decode("gzip", &[head, tail]).unwrap(), b"data", "flags {flags} at {at}");
        }
        for at in 1..body.len() {
            assert!(is_invalid(decode("gzip", &[&body[..at]])), "flags {flags} cut at {at}");
        }
    }
    assert!(is_invalid(decode("gzip", &[&gzip_with(1 << 5, b"data")])), "a reserved flag");
    let mut wrong = gzip_with(1 << 1, b"data");
    wrong[10] ^= 1;
    assert!(is_invalid(decode("gzip", &[&wrong])), "the header's checksum");
}

#[test]
fn checksums_and_lengths_are_verified() {
    let flip = |kind, from_end: usize| {
        let mut body = whole(kind, &text(500));
        let at = body.len() - from_end;
        body[at] ^= 1;
        decode(kind.name(), &[&body])
    };
    for from_end in 1..=8 {
        assert!(is_invalid(flip(Sent::Gzip, from_end)), "{from_end} bytes before the end of gzip");
    }
    for from_end in 1..=4 {
        assert!(is_invalid(flip(Sent::Zlib, from_end)), "{from_end} bytes before the end of zlib");
        assert!(is_invalid(flip(Sent::Zstd, from_end)), "{from_end} bytes before the end of zstd");
    }
}

#[test]
fn what_is_no_such_data_is_an_error() {
    for kind in KINDS {
        for body in [&b"<html>not found</html>"[..], b"{}", &[0xff; 100], &[0; 3]] {
            assert!(is_invalid(decode(kind.name(), &[body])), "{kind:?} {body:?}");
        }
    }
}

#[test]
fn deflate_is_told_apart_by_its_first_two_bytes() {
    for data in [text(0), text(1), text(300), noise(300), vec![0; 70_000]] {
        for body in encoded::deflate_at_every_level(&data) {
            let (first, rest) = body.split_at(1);
            let (second, rest) = rest.split_at(1);
            assert!(decode("deflate", &[&body]).unwrap() == data);
            assert!(decode("deflate", &[first, b"", second, rest]).unwrap() == data);
        }
    }
    let with_dictionary = [0x78, 0xbb, 1, 2, 3, 4, 5];
    assert!(is_invalid(decode("deflate", &[&with_dictionary])));
}

#[test]
fn decoders_can_change_threads() {
    fn moved<T: Send>(_: &T) {}
    moved(&decoder("gzip, br, zstd", DecodeLimits::default()));
}
