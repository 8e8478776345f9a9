//! A request as hyper sends it: its target, and the headers that are for one exchange alone.

use http::header::{CONTENT_LENGTH, COOKIE, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use url::{Position, Url};

use super::exchange::Extra;
use super::pool::Wire;
use super::request::Request;
use super::upload::Body;
use super::url::redacted;
use crate::error::{Error, Kind};

/// The request as hyper sends it: origin form with a Host header, absolute form for a proxy
/// (RFC 9112 §3.2), and for HTTP/2 the absolute URI that becomes its pseudo-headers.
pub(super) fn message(
    request: &Request,
    body: Body,
    extra: &[Extra],
    wire: &Wire,
    http2: bool,
) -> Result<http::Request<Body>, Error> {
    let url: &Url = &request.url;
    let target = if http2 || wire.proxied.is_some() {
        &url[..Position::AfterQuery]
    } else {
        &url[Position::BeforePath..Position::AfterQuery]
    };
    let authorization =
        wire.proxied.as_ref().and_then(|it| it.proxy.authorization(&request.method, target));
    let target = Uri::try_from(target).map_err(|error| {
        let shown = redacted(url);
        Error::new(Kind::InvalidUrl, format!("cannot request {shown}: {error}")).at(shown)
    })?;
    let message_length = body.length();
    let mut message = http::Request::new(body);
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = target;
    *message.headers_mut() = HeaderMap::clone(&request.headers);
    let headers = message.headers_mut();
    if http2 {
        *message.version_mut() = Version::HTTP_2;
        let headers = message.headers_mut();
        headers.remove(HOST);
    } else {
        headers.entry(HOST).or_insert_with(|| wire.host.clone());
        if message_length.is_none() && !headers.contains_key(CONTENT_LENGTH) {
            // hyper sends no body of unknown length with GET unless it is told to.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    let headers = message.headers_mut();
    if matches!(request.method, Method::POST | Method::PUT | Method::PATCH)
        && message_length == Some(0)
    {
        // Of methods that usually have a body the length is said even where there is none
        // (RFC 9110 §8.6); some servers answer 411 otherwise.
        headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    }
    for (name, value) in extra {
        add_to(headers, name, value);
    }
    if let Some(authorization) = authorization {
        headers.insert(PROXY_AUTHORIZATION, authorization);
    }
    Ok(message)
}

/// Cookies of the jar go behind the caller's own; anything else takes its place.
fn add_to(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    let joined = match headers.get(name) {
        Some(own) if *name == COOKIE => {
            let joined = [own.as_bytes(), b"; ", value.as_bytes()].concat();
            HeaderValue::from_bytes(&joined).ok()
        }
        _ => None,
    };
    let mut value = joined.unwrap_or_else(|| value.clone());
    value.set_sensitive(true);
    headers.insert(name.clone(), value);
}
