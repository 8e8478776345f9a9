//! The client: two pools (http and https) over reqwest, and the loop that runs one request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use tokio::sync::OnceCell;

use super::failure;
use super::redirect;
use super::request::Request;
use super::response::Response;
use super::tls;
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
    plain: reqwest::Client,
    /// Made by the first https request, so that http needs no certificates.
    tls: OnceCell<reqwest::Client>,
}

impl Client {
    /// A client without connections.
    ///
    /// # Errors
    /// `Tls` when the cryptography cannot be set up.
    pub fn new(options: Options) -> Result<Self, Error> {
        let plain = build(&options, tls::without_trust()?)?;
        Ok(Self { inner: Arc::new(Inner { options, plain, tls: OnceCell::new() }) })
    }

    /// Sends `request`, follows redirects, reads the whole body.
    ///
    /// # Errors
    /// Any kind of a fetch; the message carries no secrets.
    pub async fn fetch(self, mut request: Request) -> Result<Response, Error> {
        let started = Instant::now();
        let Some(timeout) = request.timeout else {
            return self.hops(&mut request, started).await;
        };
        let shown = request.url.clone();
        match tokio::time::timeout(timeout, self.hops(&mut request, started)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let shown = redacted(&shown);
                let seconds = timeout.as_secs_f64();
                let text = format!("{shown} took longer than {seconds} s in total");
                Err(Error::new(Kind::TotalTimeout, text).at(shown))
            }
        }
    }

    async fn hops(&self, request: &mut Request, started: Instant) -> Result<Response, Error> {
        let mut hops_left = self.inner.options.max_redirects;
        loop {
            let mut answer = self.send(request).await?;
            let asked = request.url.clone();
            if !redirect::advance(request, answer.status(), answer.headers())? {
                let body = read_body(&mut answer, request.max_body, &asked).await?;
                return Ok(Response {
                    status: answer.status(),
                    version: answer.version(),
                    headers: std::mem::take(answer.headers_mut()),
                    url: asked,
                    body,
                    elapsed: started.elapsed(),
                });
            }
            if hops_left == 0 {
                let text = format!(
                    "{} redirected more than {} times",
                    redacted(&asked),
                    self.inner.options.max_redirects
                );
                return Err(Error::new(Kind::TooManyRedirects, text).at(redacted(&asked)));
            }
            hops_left -= 1;
            discard_body(answer).await;
        }
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, Error> {
        let client = if request.url.scheme() == "http" { &self.inner.plain } else { self.tls().await? };
        let mut outgoing = reqwest::Request::new(request.method.clone(), request.url.clone());
        outgoing.headers_mut().clone_from(&request.headers);
        if let Some(body) = &request.body {
            *outgoing.body_mut() = Some(body.clone().into());
        }
        let answer = client.execute(outgoing).await;
        answer.map_err(|error| failure::name(&error, Phase::Head, &request.url))
    }

    async fn tls(&self) -> Result<&reqwest::Client, Error> {
        let make = async || {
            let options = self.inner.options.clone();
            let built = tokio::task::spawn_blocking(move || build(&options, tls::with_system_trust()?));
            built.await.map_err(|_| Error::new(Kind::Internal, "loading root certificates failed"))?
        };
        self.inner.tls.get_or_try_init(make).await
    }
}

/// Engine only: redirects, retries, referer and proxies are policy, and policy is offloop's own.
fn build(options: &Options, tls: ClientConfig) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .http1_max_headers(256)
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(options.idle_timeout)
        .pool_max_idle_per_host(options.idle_per_host)
        .build()
        .map_err(|error| Error::new(Kind::Tls, format!("cannot build the HTTP engine: {error}")))
}

/// The body as one piece; a body that arrives in one chunk is not copied.
async fn read_body(
    answer: &mut reqwest::Response,
    max_body: Option<usize>,
    url: &url::Url,
) -> Result<Bytes, Error> {
    let limit = max_body.unwrap_or(usize::MAX);
    let mut chunks = async || {
        let chunk = answer.chunk().await;
        chunk.map_err(|error| failure::name(&error, Phase::Body, url))
    };
    let Some(first) = chunks().await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = chunks().await? else {
        return within(first, limit, url);
    };
    let mut whole = BytesMut::from(within(first, limit, url)?);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if whole.len().saturating_add(chunk.len()) > limit {
            return Err(too_large(limit, url));
        }
        whole.extend_from_slice(&chunk);
        next = chunks().await?;
    }
    Ok(whole.freeze())
}

fn within(body: Bytes, limit: usize, url: &url::Url) -> Result<Bytes, Error> {
    if body.len() > limit { Err(too_large(limit, url)) } else { Ok(body) }
}

fn too_large(limit: usize, url: &url::Url) -> Error {
    let shown = redacted(url);
    let text = format!("the body of {shown} is larger than max_body, {limit} bytes");
    Error::new(Kind::BodyTooLarge, text).at(shown).during(Phase::Body)
}

/// Lets a small body of a redirect pass, so that its connection can serve the next hop.
async fn discard_body(mut answer: reqwest::Response) {
    /// Arbitrary: more than any honest redirect page, little enough to throw away.
    const ENOUGH: usize = 64 * 1024;
    let mut seen = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        seen += chunk.len();
        if seen > ENOUGH {
            return;
        }
    }
}
