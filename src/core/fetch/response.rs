//! What came back: a response whose body is whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use url::Url;

/// A response with its body.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The version spoken.
    pub version: Version,
    /// The headers of the last hop.
    pub headers: HeaderMap,
    /// The URL that was dialled last.
    pub url: Arc<Url>,
    /// The body.
    pub body: Bytes,
    /// From the start of the first hop to the last byte.
    pub elapsed: Duration,
}
