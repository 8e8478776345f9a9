//! Redirects: whether there is a next hop, and what may travel along (RFC 9110 §15.4).
//!
//! On the first hop to a foreign origin everything but the allow-list is dropped for good: the
//! headers of later hops are derived from those of the hop before, so nothing comes back on the
//! way home. A body travels only within its origin.

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_LOCATION, CONTENT_TYPE, EXPECT, IF_RANGE, LOCATION, RANGE, TRANSFER_ENCODING,
    USER_AGENT,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use url::Url;

use super::request::{Follow, Request};
use super::upload::Content;
use super::url::{parse, redacted};
use crate::error::{Error, Kind};

/// What a request for a foreign origin still carries.
const HARMLESS: [HeaderName; 6] =
    [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, IF_RANGE, RANGE, USER_AGENT];

/// What describes a body, and goes with it.
const OF_BODY: [HeaderName; 7] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_TYPE,
    EXPECT,
    TRANSFER_ENCODING,
];

/// Turns `request` into the next hop; false when the response is the answer. Headers named in
/// `also` cross origins, too.
///
/// # Errors
/// `InvalidRedirect`, `InsecureRedirect` or `UnreplayableBody`.
pub(super) fn advance(
    request: &mut Request,
    status: StatusCode,
    headers: &HeaderMap,
    also: &[HeaderName],
) -> Result<bool, Error> {
    let moved = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let followed = match request.follow {
        Follow::Never => false,
        Follow::Safe => request.method.is_safe(),
        Follow::All => true,
    };
    if !(moved && followed) {
        return Ok(false);
    }
    // An empty one names no place; taken for "here" it would be a loop.
    let Some(location) = headers.get(LOCATION).filter(|location| !location.is_empty()) else {
        return Ok(false);
    };
    let next = target(&request.url, location.as_bytes())?;
    let from = redacted(&request.url);
    let refuse = |kind, why: &str| Err(Error::new(kind, format!("{from} {why}")).at(from.clone()));
    if request.url.scheme() == "https" && next.scheme() == "http" {
        return refuse(Kind::InsecureRedirect, "redirects from https to http");
    }
    let foreign = !is_same_origin(&request.url, &next);
    if drops_body(status, &request.method) {
        if request.method != Method::HEAD {
            request.method = Method::GET;
        }
        request.content = Content::Empty;
        if OF_BODY.iter().any(|name| request.headers.contains_key(name)) {
            let kept = Arc::make_mut(&mut request.headers);
            for name in &OF_BODY {
                kept.remove(name);
            }
        }
    } else if !request.content.is_empty() && foreign {
        return refuse(Kind::InsecureRedirect, "redirects the request's body to a foreign origin");
    } else if !request.content.is_replayable() {
        let why = "redirects a request whose body cannot be sent a second time";
        return refuse(Kind::UnreplayableBody, why);
    }
    if foreign {
        let names = HARMLESS.iter().chain(also);
        let mut survivors = HeaderMap::new();
        for name in names {
            for value in request.headers.get_all(name) {
                survivors.append(name, value.clone());
            }
        }
        request.headers = Arc::new(survivors);
        request.digest = None;
    }
    request.url = Arc::new(next);
    Ok(true)
}

/// 303 asks for a GET; after a POST, 301 and 302 are taken for it, as everybody does
/// (RFC 9110 §15.4.2, Note).
fn drops_body(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => true,
        301 | 302 => *method == Method::POST,
        _ => false,
    }
}

fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

fn target(from: &Url, location: &[u8]) -> Result<Url, Error> {
    let invalid = |why: &str| {
        let from = redacted(from);
        Error::new(Kind::InvalidRedirect, format!("{from} redirects to nowhere: {why}")).at(from)
    };
    let text = std::str::from_utf8(location).map_err(|_| invalid("Location is not UTF-8"))?;
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f || byte == b'\\') {
        return Err(invalid("Location has characters that no URL has"));
    }
    // A space has one meaning only, and servers that forget to encode it are many.
    let text = &*text.trim_matches(' ').replace(' ', "%20");
    let mut next = from.join(text).map_err(|error| invalid(&error.to_string()))?;
    if !next.username().is_empty() || next.password().is_some() {
        return Err(invalid("Location carries credentials"));
    }
    // One that names a host has to pass as if a user had written it. A "//" in the path or the
    // query names none.
    let names_host = text.split(['?', '#']).next().unwrap_or_default();
    if names_host.starts_with("//") {
        let absolute = format!("{}:{text}", from.scheme());
        parse(&absolute).map_err(|error| invalid(&error.message))?;
    } else if names_host.split_once("://").is_some_and(|(scheme, _)| !scheme.contains('/')) {
        parse(text).map_err(|error| invalid(&error.message))?;
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
            content: Content::Empty,
            digest: None,
            timeouts: Arc::default(),
            max_body: None,
            follow: Follow::Safe,
            retry: Arc::default(),
            verbatim: false,
        }
    }

    fn hop(request: &mut Request, code: u16, location: &str) -> Result<bool, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_str(location).unwrap());
        advance(request, StatusCode::from_u16(code).unwrap(), &headers, &[])
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
        let odd = ["http://u:p@b.example/", "ftp://b.example/", "http://0x7f.1/", "/a\tb", "\\\\b"];
        for bad in odd {
            let error = hop(&mut request("http://a.example/"), 302, bad).unwrap_err();
            assert_eq!(error.kind, Kind::InvalidRedirect, "{bad}");
        }
    }

    #[test]
    fn a_url_inside_a_query_or_a_path_is_no_host() {
        for (location, url) in [
            ("/login?next=https://b.example/x", "http://a.example/login?next=https://b.example/x"),
            ("login?next=//b.example", "http://a.example/login?next=//b.example"),
            ("/proxy/http://b.example/x", "http://a.example/proxy/http://b.example/x"),
            ("?http://0x7f.1/", "http://a.example/?http://0x7f.1/"),
            (" /a b?c d#e f ", "http://a.example/a%20b?c%20d#e%20f"),
        ] {
            let mut request = request("http://a.example/");
            assert!(hop(&mut request, 302, location).unwrap());
            assert_eq!(request.url.as_str(), url, "{location}");
            assert_eq!(request.headers.len(), 3);
        }
    }

    #[test]
    fn other_answers_are_left_to_the_caller() {
        let mut post = request("http://a.example/");
        post.method = Method::POST;
        assert!(!hop(&mut post, 302, "/x").unwrap());
        assert!(!hop(&mut request("http://a.example/"), 304, "/x").unwrap());
        assert!(!hop(&mut request("http://a.example/"), 302, "").unwrap());
        let mut stay = request("http://a.example/");
        stay.follow = Follow::Never;
        assert!(!hop(&mut stay, 302, "/x").unwrap());
    }
}
