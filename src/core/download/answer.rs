//! Looks at the head of each response, before a byte of its body is believed.
//!
//! The law: no byte is written at an offset that the server has not confirmed, for the entity that
//! all other bytes are of. What does not fit exactly is a lie, whoever told it.

use http::StatusCode;

use super::part::Entity;
use super::range::{ContentRange, is_coded, is_multipart, strong_etag};
use crate::fetch::Opened;

/// What was asked for: everything, or a range of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything.
    Whole,
    /// From here to there, or to the end.
    Range { start: u64, end: Option<u64> },
}

/// What a response turned out to be.
#[derive(Debug)]
pub(super) enum Answer {
    /// The whole entity, from its first byte on.
    Whole(Entity),
    /// Exactly the range asked for; it ends here, and the whole is so long.
    Range { end: u64, total: u64 },
    /// There is nothing from there on: the whole is so long.
    Nothing { total: u64 },
    /// Another entity than that of the bytes that are there, or no ranges at all.
    Other,
    /// Something that cannot be true.
    Lie(&'static str),
    /// No success.
    Refusal,
}

/// What `opened` is, asked as it was, of `known`.
pub(super) fn judge(opened: &Opened, asked: Asked, known: &Entity) -> Answer {
    let head = opened.head();
    let headers = &head.headers;
    let content_range = headers.contains_key(http::header::CONTENT_RANGE);
    match (head.status, asked) {
        (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, _) if content_range => {
            Answer::Lie("it sent a part as if it were the whole")
        }
        (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, Asked::Whole) => {
            Answer::Whole(entity(opened))
        }
        (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, Asked::Range { .. }) => {
            Answer::Other
        }
        (StatusCode::PARTIAL_CONTENT, Asked::Whole) => {
            Answer::Lie("it sent a part where the whole was asked for")
        }
        (StatusCode::PARTIAL_CONTENT, Asked::Range { start, end }) => {
            part(opened, start, end, known)
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, Asked::Range { .. }) => {
            match ContentRange::of(headers) {
                Some(ContentRange::Unsatisfied { total }) => Answer::Nothing { total },
                _ => Answer::Lie("it has nothing there, and does not say how much it has"),
            }
        }
        _ => Answer::Refusal,
    }
}

/// What a whole response is. One that is coded, though no coding was accepted, is decoded on its
/// way: nobody knows how long it will be, and its parts are of no use.
pub(super) fn entity(opened: &Opened) -> Entity {
    let headers = &opened.head().headers;
    if is_coded(headers) {
        return Entity::default();
    }
    Entity { etag: strong_etag(headers), total: opened.announced() }
}

fn part(opened: &Opened, start: u64, end: Option<u64>, known: &Entity) -> Answer {
    let headers = &opened.head().headers;
    if is_multipart(headers) {
        return Answer::Lie("it sent several ranges where one was asked for");
    }
    if is_coded(headers) {
        return Answer::Lie("it sent a part of a coded body, though no coding was accepted");
    }
    let Some(ContentRange::Part { start: from, end: to, total: Some(total) }) =
        ContentRange::of(headers)
    else {
        return Answer::Lie("it does not say which part it sent");
    };
    if from != start {
        return Answer::Lie("it sent another part than the one asked for");
    }
    if to != end.unwrap_or(total) {
        return Answer::Lie("its part ends elsewhere than the one asked for");
    }
    if known.total.is_some_and(|known| known != total) {
        return Answer::Lie("the length of the whole has changed");
    }
    if opened.announced().is_some_and(|length| length != to - from) {
        return Answer::Lie("its body is not as long as the part it says it sent");
    }
    // RFC 9110 §15.3.7: a part has the entity tag that the whole would have.
    if strong_etag(headers) != known.etag {
        return Answer::Lie("its part is of another entity than the rest");
    }
    Answer::Range { end: to, total }
}
