//! What a server says about the part it sends (RFC 9110 §14), read strictly.

use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName};

/// A `Content-Range` in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentRange {
    /// These bytes, the end not included, of so many.
    Part { start: u64, end: u64, total: Option<u64> },
    /// None, of so many: the range asked for does not exist.
    Unsatisfied { total: u64 },
}

impl ContentRange {
    /// `None` unless there is exactly one, and it is well-formed and possible.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let (unit, rest) = only(headers, &CONTENT_RANGE)?.split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.split_once('/')?;
        let total = if total == "*" { None } else { Some(number(total)?) };
        if range == "*" {
            return Some(Self::Unsatisfied { total: total? });
        }
        let (first, last) = range.split_once('-')?;
        let (start, end) = (number(first)?, number(last)?.checked_add(1)?);
        let possible = start < end && total.is_none_or(|total| end <= total);
        possible.then_some(Self::Part { start, end, total })
    }
}

/// A strong entity tag (RFC 9110 §8.8.3): equal ones promise equal bytes. A weak one promises
/// something alike, which is no good for joining parts.
pub(super) fn strong_etag(headers: &HeaderMap) -> Option<String> {
    /// The longest that is remembered; arbitrary, and the journal has room for it.
    const LONGEST: usize = 1024;
    let tag = only(headers, &ETAG)?;
    let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
    let plain = opaque.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    (plain && !opaque.is_empty() && tag.len() <= LONGEST).then(|| tag.to_owned())
}

/// Whether the body is several ranges in one.
pub(super) fn is_multipart(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("multipart/byteranges")
}

/// Whether the body is in a coding, though none was accepted.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let plain = |value: &http::HeaderValue| {
        value
            .to_str()
            .is_ok_and(|it| it.trim().is_empty() || it.trim().eq_ignore_ascii_case("identity"))
    };
    !headers.get_all(CONTENT_ENCODING).iter().all(plain)
}

fn only<'headers>(headers: &'headers HeaderMap, name: &HeaderName) -> Option<&'headers str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

/// Digits and nothing else: `str::parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<ContentRange> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, value.parse().unwrap());
        ContentRange::of(&headers)
    }

    #[test]
    fn what_is_well_formed_is_read() {
        let part = |start, end, total| Some(ContentRange::Part { start, end, total });
        assert_eq!(of("bytes 0-9/10"), part(0, 10, Some(10)));
        assert_eq!(of("Bytes 5-5/*"), part(5, 6, None));
        assert_eq!(of("bytes */10"), Some(ContentRange::Unsatisfied { total: 10 }));
    }

    #[test]
    fn what_is_not_is_nothing() {
        for value in [
            "",
            "bytes",
            "bytes 0-9",
            "bytes=0-9/10",
            "bytes 9-0/10",
            "bytes 0-10/10",
            "bytes -9/10",
            "bytes 0-/10",
            "bytes +0-9/10",
            "bytes 0-9/+10",
            "bytes 0 - 9/10",
            "lines 0-9/10",
            "bytes 0-9/10, bytes 0-9/10",
            "bytes 0-18446744073709551615/*",
            "bytes */*",
            "bytes 0-99999999999999999999/*",
            "bytes 0x0-9/10",
        ] {
            assert_eq!(of(value), None, "{value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(CONTENT_RANGE, "bytes 0-9/10".parse().unwrap());
        twice.append(CONTENT_RANGE, "bytes 0-9/10".parse().unwrap());
        assert_eq!(ContentRange::of(&twice), None);
    }

    #[test]
    fn only_strong_tags_count() {
        let tag = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ETAG, value.parse().unwrap());
            strong_etag(&headers)
        };
        assert_eq!(tag("\"abc\"").as_deref(), Some("\"abc\""));
        for weak in ["W/\"abc\"", "abc", "\"\"", "\"", "\"a\" \"b\"", "\"a\"b\""] {
            assert_eq!(tag(weak), None, "{weak}");
        }
    }
}
