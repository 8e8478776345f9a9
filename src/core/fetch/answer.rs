//! The head of a response, and its body still on the way, whichever lane it came through.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use url::Url;

use super::failure;
use super::pool::Lease;
use crate::error::{Error, Phase};

/// A response whose body has not been read yet. Dropping it closes its connection.
pub(super) enum Answer {
    /// Through `plain`.
    Plain(http::Response<Incoming>, Option<Lease>),
    /// Through `secure`.
    Secure(reqwest::Response),
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Plain(response, _) => response.status(),
            Self::Secure(response) => response.status(),
        }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::Plain(response, _) => response.version(),
            Self::Secure(response) => response.version(),
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        match self {
            Self::Plain(response, _) => response.headers(),
            Self::Secure(response) => response.headers(),
        }
    }

    pub(super) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(match self {
            Self::Plain(response, _) => response.headers_mut(),
            Self::Secure(response) => response.headers_mut(),
        })
    }

    /// The next piece of the body; after the last one the connection is free for others.
    pub(super) async fn chunk(&mut self, url: &Url) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Secure(response) => {
                let chunk = response.chunk().await;
                chunk.map_err(|error| failure::name(&error, Phase::Body, url))
            }
            Self::Plain(response, lease) => {
                while let Some(frame) = response.body_mut().frame().await {
                    let frame = frame.map_err(|error| failure::name(&error, Phase::Body, url))?;
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                if let Some(lease) = lease.take() {
                    lease.release();
                }
                Ok(None)
            }
        }
    }
}
