//! What hyper and rustls report, named: by the types in its chain of causes, never by their text.

use std::error::Error as StdError;

use rustls::CertificateError;
use url::Url;

use super::url::redacted;
use crate::error::{Error, Kind, Phase};

/// Names a failure of an engine that happened during `phase` of a request to `url`.
pub(super) fn name(failure: &(dyn StdError + 'static), phase: Phase, url: &Url) -> Error {
    if let Some(tls) = find::<rustls::Error>(failure) {
        return tls_error(tls, url).during(phase);
    }
    let kind = kind(failure, phase);
    let shown = redacted(url);
    let text = format!("{} {shown}: {}", summary(kind), root_cause(failure));
    let mut error = Error::new(kind, text).at(shown).during(phase);
    error.errno = find::<std::io::Error>(failure).and_then(std::io::Error::raw_os_error);
    error
}

/// Names a failed TLS handshake.
pub(super) fn of_tls(failure: &std::io::Error, url: &Url) -> Error {
    if let Some(tls) = find::<rustls::Error>(failure) {
        return tls_error(tls, url).during(Phase::Connect);
    }
    let shown = redacted(url);
    let text = format!("the TLS handshake with {shown} broke off: {failure}");
    let mut error = Error::new(Kind::Tls, text).at(shown).during(Phase::Connect);
    error.errno = failure.raw_os_error();
    error
}

fn tls_error(failure: &rustls::Error, url: &Url) -> Error {
    let shown = redacted(url);
    let cause = match failure {
        rustls::Error::InvalidCertificate(reason) => certificate(reason),
        rustls::Error::InvalidMessage(_) => "what answers speaks no TLS".to_owned(),
        other => other.to_string(),
    };
    Error::new(Kind::Tls, format!("no trusted connection to {shown}: {cause}")).at(shown)
}

fn certificate(reason: &CertificateError) -> String {
    use CertificateError as Reason;
    match reason {
        Reason::Expired | Reason::ExpiredContext { .. } => "the certificate has expired".into(),
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            "the certificate is not valid yet".into()
        }
        Reason::UnknownIssuer => "the certificate is from an unknown issuer".into(),
        Reason::NotValidForName => "the certificate is for another name".into(),
        Reason::NotValidForNameContext { .. } => {
            format!("the certificate is for another name: {reason}")
        }
        Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. } => {
            "the certificate is not for the usage as a server".into()
        }
        Reason::Revoked => "the certificate has been revoked".into(),
        Reason::BadSignature => "the certificate's signature is wrong".into(),
        other => format!("the certificate is refused: {other}"),
    }
}

fn kind(failure: &(dyn StdError + 'static), phase: Phase) -> Kind {
    let engine = find::<hyper::Error>(failure);
    match phase {
        _ if engine.is_some_and(hyper::Error::is_parse_too_large) => Kind::HeadersTooLarge,
        Phase::Queue | Phase::Connect => Kind::Connect,
        Phase::Body if is_cut(failure) => Kind::TruncatedBody,
        Phase::Send | Phase::Head | Phase::Body => Kind::Protocol,
    }
}

/// Whether the peer closed or reset the connection in the middle of a message.
pub(super) fn is_cut(failure: &(dyn StdError + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    find::<hyper::Error>(failure)
        .is_some_and(|error| error.is_incomplete_message() || error.is_closed())
        || find::<h2::Error>(failure).is_some_and(h2::Error::is_io)
        || find::<std::io::Error>(failure).is_some_and(|error| {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        })
}

/// Whether the server says that it has not touched the request (RFC 9113 §8.7).
pub(super) fn is_refused(failure: &(dyn StdError + 'static)) -> bool {
    find::<h2::Error>(failure).is_some_and(|error| {
        error.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away()
                && error.is_remote()
                && error.reason() == Some(h2::Reason::NO_ERROR))
    })
}

fn summary(kind: Kind) -> &'static str {
    match kind {
        Kind::Connect => "cannot connect to",
        Kind::TruncatedBody => "the body was cut short by",
        Kind::HeadersTooLarge => "too large a head from",
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

/// Whether a stream of HTTP/2 was reset, by the peer or because it broke the rules.
pub(super) fn is_reset(failure: &(dyn StdError + 'static)) -> bool {
    find::<h2::Error>(failure).is_some_and(h2::Error::is_reset)
}
