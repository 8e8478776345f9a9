//! The lane of http:// URLs: HTTP/1.1 over hyper's connections and a pool of offloop's own.
//!
//! It exists for speed: reqwest spends a third of the CPU of a small plain request on
//! generality that a plain request has no use for (docs/decisions/0002).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use url::{Host, Position, Url};

use super::answer::Answer;
use super::client::Options;
use super::failure;
use super::pool::{Connection, Pool};
use super::request::Request;
use super::url::redacted;
use crate::error::{Error, Kind, Phase};
use crate::runtime;

/// Sends requests to http:// URLs.
#[derive(Debug)]
pub(super) struct Plain {
    pool: Arc<Pool>,
    connect_timeout: Duration,
}

impl Plain {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            pool: Arc::new(Pool::new(options.idle_timeout, options.idle_per_host)),
            connect_timeout: options.connect_timeout,
        }
    }

    /// Sends `request` and waits for the head of the response.
    ///
    /// A kept-alive connection may have been closed by the server while it was idle. What was
    /// never written is sent again; what was written is sent once more if the method is
    /// idempotent (RFC 9110 §9.2.2), on a fresh connection, before any byte of a response.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Error> {
        let authority = &request.url[Position::BeforeHost..Position::AfterPort];
        while let Some(mut connection) = self.pool.checkout(authority) {
            if connection.sender.ready().await.is_err() {
                continue;
            }
            let head = head(request, &connection.host)?;
            match connection.sender.try_send_request(head).await {
                Ok(response) => return Ok(self.answer(response, connection, authority)),
                Err(mut failed) => {
                    let unsent = failed.take_message().is_some();
                    let silent = failure::is_cut(failed.error());
                    if !(unsent || silent && request.method.is_idempotent()) {
                        return Err(failure::name(failed.error(), Phase::Head, &request.url));
                    }
                    break;
                }
            }
        }
        let mut connection = self.connect(&request.url, authority).await?;
        let head = head(request, &connection.host)?;
        let response = connection.sender.send_request(head).await;
        let response =
            response.map_err(|error| failure::name(&error, Phase::Head, &request.url))?;
        Ok(self.answer(response, connection, authority))
    }

    fn answer(
        &self,
        response: http::Response<hyper::body::Incoming>,
        connection: Connection,
        authority: &str,
    ) -> Answer {
        Answer::Plain(response, Some(self.pool.lease(connection, authority)))
    }

    async fn connect(&self, url: &Url, authority: &str) -> Result<Connection, Error> {
        let Ok(stream) = tokio::time::timeout(self.connect_timeout, dial(url)).await else {
            let seconds = self.connect_timeout.as_secs_f64();
            let shown = redacted(url);
            let text = format!("cannot connect to {shown}: no connection after {seconds} s");
            return Err(Error::new(Kind::ConnectTimeout, text).at(shown).during(Phase::Connect));
        };
        let mut builder = http1::Builder::new();
        let opened = builder.max_headers(256).handshake(TokioIo::new(stream?)).await;
        let (sender, moving) =
            opened.map_err(|error| failure::name(&error, Phase::Connect, url))?;
        let task = runtime::spawn(async move {
            // What goes wrong here is reported to the request that is under way.
            let _ = moving.await;
        })?;
        let host = HeaderValue::from_str(authority)
            .map_err(|_| Error::new(Kind::InvalidUrl, "the host is no header value"))?;
        Ok(Connection { sender, host, task })
    }
}

/// The request as hyper sends it: origin form and a Host header (RFC 9112 §3.2).
fn head(request: &Request, host: &HeaderValue) -> Result<http::Request<Full<Bytes>>, Error> {
    let target = &request.url[Position::BeforePath..Position::AfterQuery];
    let target = Uri::try_from(target).map_err(|error| {
        let shown = redacted(&request.url);
        Error::new(Kind::InvalidUrl, format!("cannot request {shown}: {error}")).at(shown)
    })?;
    let mut head = http::Request::new(Full::new(request.body.clone().unwrap_or_default()));
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = target;
    *head.headers_mut() = HeaderMap::clone(&request.headers);
    head.headers_mut().entry(HOST).or_insert_with(|| host.clone());
    Ok(head)
}

/// Connects to the first address of the host that answers.
async fn dial(url: &Url) -> Result<TcpStream, Error> {
    let port = url.port_or_known_default().unwrap_or(80);
    let refused = |kind: Kind, error: &std::io::Error| {
        let shown = redacted(url);
        let mut failure = Error::new(kind, format!("cannot connect to {shown}: {error}"));
        failure.errno = error.raw_os_error();
        failure.at(shown).during(Phase::Connect)
    };
    let stream = match url.host() {
        Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Domain(name)) => {
            let found = lookup_host((name, port)).await;
            let addresses: Vec<_> = found.map_err(|error| refused(Kind::Dns, &error))?.collect();
            TcpStream::connect(addresses.as_slice()).await
        }
        None => return Err(Error::new(Kind::InvalidUrl, "the URL names no host")),
    };
    let stream = stream.map_err(|error| refused(Kind::Connect, &error))?;
    stream.set_nodelay(true).map_err(|error| refused(Kind::Connect, &error))?;
    Ok(stream)
}
