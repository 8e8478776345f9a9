//! What hyper and reqwest report, named: by the types in its chain of causes, never by their text.

use std::error::Error as StdError;

use url::Url;

use super::url::redacted;
use crate::error::{Error, Kind, Phase};

/// Names a failure of an engine that happened during `phase` of a request to `url`.
pub(super) fn name(failure: &(dyn StdError + 'static), phase: Phase, url: &Url) -> Error {
    let engine = find::<reqwest::Error>(failure);
    let phase = if engine.is_some_and(reqwest::Error::is_connect) { Phase::Connect } else { phase };
    let kind = kind(failure, engine, phase);
    let shown = redacted(url);
    let text = format!("{} {shown}: {}", summary(kind), root_cause(failure));
    let mut error = Error::new(kind, text).at(shown).during(phase);
    error.errno = find::<std::io::Error>(failure).and_then(std::io::Error::raw_os_error);
    error
}

fn kind(failure: &(dyn StdError + 'static), engine: Option<&reqwest::Error>, phase: Phase) -> Kind {
    if find::<rustls::Error>(failure).is_some() {
        return Kind::Tls;
    }
    match phase {
        Phase::Connect if engine.is_some_and(reqwest::Error::is_dns) => Kind::Dns,
        Phase::Connect if engine.is_some_and(reqwest::Error::is_timeout) => Kind::ConnectTimeout,
        Phase::Connect => Kind::Connect,
        Phase::Body if is_cut(failure) => Kind::TruncatedBody,
        Phase::Head | Phase::Body => Kind::Protocol,
    }
}

/// Whether the peer closed or reset the connection in the middle of a message.
pub(super) fn is_cut(failure: &(dyn StdError + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    find::<hyper::Error>(failure)
        .is_some_and(|error| error.is_incomplete_message() || error.is_closed())
        || find::<std::io::Error>(failure).is_some_and(|error| {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        })
}

fn summary(kind: Kind) -> &'static str {
    match kind {
        Kind::Dns => "cannot resolve the host of",
        Kind::Tls => "no trusted connection to",
        Kind::Connect | Kind::ConnectTimeout => "cannot connect to",
        Kind::TruncatedBody => "the body was cut short by",
        _ => "failed to fetch",
    }
}

/// The first error of type `E` in the chain, also inside an `io::Error`.
fn find<'a, E: StdError + 'static>(failure: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(failure).find_map(|cause| cause.downcast_ref::<E>())
}

fn root_cause(failure: &(dyn StdError + 'static)) -> String {
    causes(failure).last().map(ToString::to_string).unwrap_or_default()
}

fn causes<'a>(
    failure: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(failure), |&cause| {
        let inside = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inside {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => cause.source(),
        }
    })
}
