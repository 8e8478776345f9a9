//! Redirects: whether there is a next hop, and what may travel along (RFC 9110 §15.4).
//!
//! Only safe methods are followed here, so a body never has to be sent twice. On the first hop
//! to a foreign origin everything but the allow-list is dropped for good: the headers of later
//! hops are derived from those of the hop before, so nothing comes back on the way home.

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, IF_RANGE, LOCATION, RANGE, USER_AGENT,
};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::request::Request;
use super::url::{parse, redacted};
use crate::error::{Error, Kind};

/// What a request for a foreign origin still carries.
const HARMLESS: [http::HeaderName; 6] =
    [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, IF_RANGE, RANGE, USER_AGENT];

/// Turns `request` into the next hop; false when the response is the answer.
///
/// # Errors
/// `InvalidRedirect` or `InsecureRedirect`.
pub(super) fn advance(
    request: &mut Request,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<bool, Error> {
    let moved = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    if !(moved && request.follow_redirects && request.method.is_safe()) {
        return Ok(false);
    }
    let Some(location) = headers.get(LOCATION) else {
        return Ok(false);
    };
    let next = target(&request.url, location.as_bytes())?;
    if request.url.scheme() == "https" && next.scheme() == "http" {
        let text = format!("{} redirects from https to http", redacted(&request.url));
        return Err(Error::new(Kind::InsecureRedirect, text).at(redacted(&request.url)));
    }
    if request.url.origin() != next.origin() {
        let survivors = HARMLESS
            .iter()
            .filter_map(|name| Some((name.clone(), request.headers.get(name)?.clone())));
        request.headers = Arc::new(survivors.collect());
    }
    request.url = Arc::new(next);
    Ok(true)
}

fn target(from: &Url, location: &[u8]) -> Result<Url, Error> {
    let invalid = |why: &str| {
        let from = redacted(from);
        Error::new(Kind::InvalidRedirect, format!("{from} redirects to nowhere: {why}")).at(from)
    };
    let text = std::str::from_utf8(location).map_err(|_| invalid("Location is not UTF-8"))?;
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
        return Err(invalid("Location has characters that no URL has"));
    }
    let mut next = from.join(text).map_err(|error| invalid(&error.to_string()))?;
    if !next.username().is_empty() || next.password().is_some() {
        return Err(invalid("Location carries credentials"));
    }
    if text.contains("//") {
        let absolute =
            if text.starts_with("//") { format!("{}:{text}", from.scheme()) } else { text.into() };
        if absolute.contains("://") {
            parse(&absolute).map_err(|error| invalid(&error.message))?;
        }
    }
    if !matches!(next.scheme(), "http" | "https") {
        return Err(invalid("Location is neither http nor https"));
    }
    if next.fragment().is_none() {
        next.set_fragment(from.fragment());
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method, header::AUTHORIZATION};

    fn request(url: &str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
        headers.insert("x-api-key", HeaderValue::from_static("secret"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/plain"));
        Request {
            method: Method::GET,
            url: Arc::new(parse(url).unwrap()),
            headers: Arc::new(headers),
            body: None,
            timeout: None,
            max_body: None,
            follow_redirects: true,
        }
    }

    fn hop(request: &mut Request, code: u16, location: &str) -> Result<bool, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_str(location).unwrap());
        advance(request, StatusCode::from_u16(code).unwrap(), &headers)
    }

    #[test]
    fn a_hop_to_the_same_origin_keeps_every_header() {
        let mut request = request("http://a.example/1");
        assert!(hop(&mut request, 302, "/2?x=1").unwrap());
        assert_eq!(request.url.as_str(), "http://a.example/2?x=1");
        assert_eq!(request.headers.len(), 3);
    }

    #[test]
    fn secrets_dropped_at_the_first_foreign_hop_do_not_come_back() {
        for foreign in ["http://b.example/", "http://a.example:81/", "https://a.example/", "//c/"] {
            let mut request = request("http://a.example/");
            assert!(hop(&mut request, 307, foreign).unwrap());
            assert_eq!(request.headers.len(), 1, "{foreign}");
        }
        let mut request = request("http://a.example/");
        assert!(hop(&mut request, 301, "http://b.example/").unwrap());
        assert!(hop(&mut request, 301, "http://a.example/").unwrap());
        assert!(request.headers.contains_key(ACCEPT));
        assert!(!request.headers.contains_key(AUTHORIZATION));
    }

    #[test]
    fn a_hop_down_to_http_is_refused() {
        let error = hop(&mut request("https://a.example/"), 301, "http://a.example/").unwrap_err();
        assert_eq!(error.kind, Kind::InsecureRedirect);
    }

    #[test]
    fn a_location_that_is_no_honest_url_is_refused() {
        for bad in ["http://u:p@b.example/", "ftp://b.example/", "http://0x7f.1/", "/a b", "\\\\b"]
        {
            let error = hop(&mut request("http://a.example/"), 302, bad).unwrap_err();
            assert_eq!(error.kind, Kind::InvalidRedirect, "{bad}");
        }
    }

    #[test]
    fn other_answers_are_left_to_the_caller() {
        let mut post = request("http://a.example/");
        post.method = Method::POST;
        assert!(!hop(&mut post, 302, "/x").unwrap());
        assert!(!hop(&mut request("http://a.example/"), 304, "/x").unwrap());
        let mut stay = request("http://a.example/");
        stay.follow_redirects = false;
        assert!(!hop(&mut stay, 302, "/x").unwrap());
    }
}
