//! What came back: the head of a response, its body, and how it went.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, Version};
use url::Url;

use super::body::Whole;
use super::ear::AsSent;
use super::keep::Kept;
use super::readahead::ReadAhead;
use super::room::Room;
use crate::error::Attempt;

/// The head of a response.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, where it is not the usual one.
    pub reason: Option<Arc<[u8]>>,
    /// The version spoken.
    pub version: Version,
    /// The headers.
    pub headers: HeaderMap,
    /// The same as they were sent, of a request that was sent verbatim by HTTP/1.1.
    pub sent: Option<Arc<AsSent>>,
    /// What was asked.
    pub asked: Asked,
}

/// What a response answers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The URL that was dialled.
    pub url: Arc<Url>,
    /// The headers of the request, besides cookies of the jar and digest authorization.
    pub headers: Arc<HeaderMap>,
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Body,
    /// The responses that redirected here, without their bodies.
    pub history: Vec<Head>,
    /// The tries before the one that brought this.
    pub attempts: Vec<Attempt>,
    /// Where the time went.
    pub timings: Timings,
    /// Bytes of the body on the wire; for a stream, counted there.
    pub received: u64,
    /// Whether the connection had served before.
    pub reused: bool,
}

impl Response {
    /// All of it but the body.
    #[must_use]
    pub fn outline(&self) -> Self {
        Self {
            head: self.head.clone(),
            body: Body::Absent,
            history: self.history.clone(),
            attempts: self.attempts.clone(),
            timings: self.timings,
            received: self.received,
            reused: self.reused,
        }
    }
}

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Whole),
    /// On its way.
    Streaming(ReadAhead),
    /// All of it, where it was wanted.
    Placed(Box<dyn Room>),
    /// In a file.
    Kept(Kept),
    /// Elsewhere: another process had it, or it is still to come.
    Absent,
}

/// Where the time of a request went.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Waiting for a connection of the limits, and for the rate.
    pub queued: Duration,
    /// Resolving names.
    pub dns: Duration,
    /// TCP, and proxies.
    pub connect: Duration,
    /// TLS handshakes.
    pub tls: Duration,
    /// From the request to the head of the response, of the last hop.
    pub first_byte: Duration,
    /// From the head to the end of the body.
    pub body: Duration,
    /// In decoders, part of `body`.
    pub decode: Duration,
    /// From the start to the end of all this.
    pub elapsed: Duration,
    /// When it ended: the rest is the way to the awaiter.
    pub ended: Instant,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            queued: Duration::ZERO,
            dns: Duration::ZERO,
            connect: Duration::ZERO,
            tls: Duration::ZERO,
            first_byte: Duration::ZERO,
            body: Duration::ZERO,
            decode: Duration::ZERO,
            elapsed: Duration::ZERO,
            ended: Instant::now(),
        }
    }
}
