//! The client: runs one request hop by hop, each through the lane of its scheme.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use url::Url;

use super::answer::Answer;
use super::plain::Plain;
use super::redirect;
use super::request::Request;
use super::response::Response;
use super::secure::Secure;
use super::url::redacted;
use crate::error::{Error, Kind, Phase};

/// What is fixed when a client is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// For DNS, TCP and TLS of one connection.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How many unused connections are kept per host.
    pub idle_per_host: usize,
    /// How many redirects one request may follow.
    pub max_redirects: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            idle_per_host: 512,
            max_redirects: 10,
        }
    }
}

/// Fetches; cheap to clone, shared by any number of threads and loops.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    plain: Plain,
    secure: Secure,
}

impl Client {
    /// A client without connections.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let (plain, secure) = (Plain::new(&options), Secure::default());
        Self { inner: Arc::new(Inner { options, plain, secure }) }
    }

    /// Sends `request`, follows redirects, reads the whole body.
    ///
    /// # Errors
    /// Any kind of a fetch; the message carries no secrets.
    pub async fn fetch(self, mut request: Request) -> Result<Response, Error> {
        let Some(timeout) = request.timeout else {
            return self.inner.hops(&mut request).await;
        };
        let asked = Arc::clone(&request.url);
        if let Ok(outcome) = tokio::time::timeout(timeout, self.inner.hops(&mut request)).await {
            return outcome;
        }
        let shown = redacted(&asked);
        let text = format!("{shown} took longer than {} s in total", timeout.as_secs_f64());
        Err(Error::new(Kind::TotalTimeout, text).at(shown))
    }
}

impl Inner {
    async fn hops(&self, request: &mut Request) -> Result<Response, Error> {
        let started = Instant::now();
        let mut hops_left = self.options.max_redirects;
        loop {
            let mut answer = if request.url.scheme() == "http" {
                self.plain.send(request).await?
            } else {
                // Boxed, because it is far larger than the plain lane, which should not carry it.
                Box::pin(self.secure.send(request, &self.options)).await?
            };
            let asked = Arc::clone(&request.url);
            if !redirect::advance(request, answer.status(), answer.headers())? {
                let body = read_body(&mut answer, request.max_body, &asked).await?;
                return Ok(Response {
                    status: answer.status(),
                    version: answer.version(),
                    headers: answer.take_headers(),
                    url: asked,
                    body,
                    elapsed: started.elapsed(),
                });
            }
            if hops_left == 0 {
                let shown = redacted(&asked);
                let most = self.options.max_redirects;
                let text = format!("{shown} redirected more than {most} times");
                return Err(Error::new(Kind::TooManyRedirects, text).at(shown));
            }
            hops_left -= 1;
            discard_body(answer, &asked).await;
        }
    }
}

/// The body as one piece; a body that arrives in one chunk is not copied.
async fn read_body(answer: &mut Answer, limit: Option<usize>, url: &Url) -> Result<Bytes, Error> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut whole = Body::Empty;
    while let Some(chunk) = answer.chunk(url).await? {
        if whole.len().saturating_add(chunk.len()) > limit {
            let shown = redacted(url);
            let text = format!("the body of {shown} is larger than max_body, {limit} bytes");
            return Err(Error::new(Kind::BodyTooLarge, text).at(shown).during(Phase::Body));
        }
        whole.append(chunk);
    }
    Ok(whole.into_bytes())
}

/// A body while it is being read.
enum Body {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(chunk) => chunk.len(),
            Self::Many(chunks) => chunks.len(),
        }
    }

    fn append(&mut self, chunk: Bytes) {
        *self = match std::mem::replace(self, Self::Empty) {
            Self::Empty => Self::One(chunk),
            Self::One(first) => {
                let mut chunks = BytesMut::from(first);
                chunks.extend_from_slice(&chunk);
                Self::Many(chunks)
            }
            Self::Many(mut chunks) => {
                chunks.extend_from_slice(&chunk);
                Self::Many(chunks)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Many(chunks) => chunks.freeze(),
        }
    }
}

/// Lets a small body of a redirect pass, so that its connection can serve the next hop.
async fn discard_body(mut answer: Answer, url: &Url) {
    /// Arbitrary: more than any honest redirect page, little enough to throw away.
    const ENOUGH: usize = 64 * 1024;
    let mut seen = 0;
    while let Ok(Some(chunk)) = answer.chunk(url).await {
        seen += chunk.len();
        if seen > ENOUGH {
            return;
        }
    }
}
