//! The head of a response, looked at before anybody trusts it: what breaks the rules is refused here,
//! for HTTP/1.1 and HTTP/2.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::body::Incoming;

use super::body::{Answer, WireBody};
use super::client::Inner;
use super::connect::MAX_HEAD;
use super::exchange::{Trip, proxied};
use super::pool::{Connection, Lease};
use super::request::Request;
use super::url::redacted;
use crate::error::{Error, Kind, Phase};

impl Inner {
    /// Looks at the head of a response before anybody trusts it.
    pub(super) fn accept(
        &self,
        response: http::Response<Incoming>,
        lease: Lease,
        request: &Request,
        trip: &Trip,
    ) -> Result<Answer, Error> {
        let (mut parts, incoming) = response.into_parts();
        let url = &request.url;
        let refuse = |kind, why: &str| {
            let shown = redacted(url);
            let text = format!("{shown} answered against the rules: {why}");
            Err(Error::new(kind, text).at(shown).during(Phase::Head))
        };
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return refuse(Kind::Protocol, "101 to a request that asked for no upgrade");
        }
        if parts.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED && proxied(&lease).is_some() {
            let text = format!("the proxy wants other credentials for {}", redacted(url));
            return Err(Error::new(Kind::Proxy, text).during(Phase::Connect));
        }
        let headers = &parts.headers;
        let weight =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        if headers.iter().map(weight).sum::<usize>() > MAX_HEAD {
            return refuse(Kind::HeadersTooLarge, "its head is larger than 64 KiB");
        }
        if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
            if headers.contains_key(CONTENT_LENGTH) {
                return refuse(Kind::Protocol, "both Transfer-Encoding and Content-Length");
            }
            let last = coding.as_bytes().rsplit(|&byte| byte == b',').next().unwrap_or_default();
            let lines = headers.get_all(TRANSFER_ENCODING).iter().count();
            if lines > 1
                || !last.trim_ascii().eq_ignore_ascii_case(b"chunked")
                || last.len() < coding.len()
            {
                return refuse(Kind::Protocol, "a Transfer-Encoding other than chunked");
            }
        }
        let bodiless = *request.method.as_str() == *"HEAD"
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let announced = if bodiless {
            None
        } else {
            let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            length.and_then(|value| value.split(',').next()?.trim().parse().ok())
        };
        let reason = parts.extensions.remove::<hyper::ext::ReasonPhrase>();
        let sent = match &lease.connection {
            Connection::Http1(connection) => connection.ear().head(headers.len()).map(Arc::new),
            Connection::Http2(..) => None,
        };
        let wire = WireBody::new(
            incoming,
            lease,
            Arc::clone(&self.pool),
            Arc::clone(&self.counters),
            Arc::clone(url),
            trip.clock,
            Arc::clone(&request.timeouts),
            announced,
        );
        let (status, version) = (parts.status, parts.version);
        Ok(Answer { status, version, headers: parts.headers, reason, sent, wire })
    }
}
