//! Makes connections: resolve, guard, dial, proxy, TLS, and the first words of HTTP.
//!
//! What was checked is what is dialled: the guard sees the very addresses that are handed to the
//! dialler. A route through a proxy or a unix socket hides the address, so with a guard it is
//! refused.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use url::{Host as UrlHost, Position, Url};

use super::dial::dial;
use super::failure;
use super::guard::Guard;
use super::pool::{Http1, Http2, Open, Proxied, Wire};
use super::proxy::{Proxies, Proxy, Scheme};
use super::resolve::Resolver;
use super::stream::Stream;
use super::tls::{self, Trust};
use super::tunnel::{self, Target};
use crate::error::{Error, Kind, Phase};
use crate::runtime;
use crate::threads::Threads;

/// Reads certificates, once per client.
static READERS: Threads = Threads::new("offloop-tls", 1);

/// The most bytes of headers that are accepted in one response; the same as Node.js, Chromium
/// takes 256 KiB, Go 1 MiB.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// The most header lines in one response.
const MAX_HEADERS: usize = 256;
/// Room for a body of HTTP/2 that has not been read yet: per stream, and per connection. Large
/// enough for 1 Gbit/s at 20 ms.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Where connections go, instead of to the host of the URL.
#[derive(Clone, Debug, Default)]
pub enum Route {
    /// To the host of the URL, by a proxy if one is meant for it.
    #[default]
    Natural,
    /// To this unix socket.
    Unix(PathBuf),
    /// To this address, in the clear whatever the URL says: for tests.
    Fixed(SocketAddr),
}

/// Which versions of HTTP may be spoken.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    /// HTTP/1.1.
    pub http1: bool,
    /// HTTP/2: where TLS agrees on it, or at once if `http1` is off.
    pub http2: bool,
}

/// How a client reaches servers.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) route: Route,
    pub(super) versions: Versions,
    pub(super) proxies: Proxies,
    pub(super) guard: Option<Guard>,
    pub(super) resolver: Resolver,
    pub(super) trust: Trust,
    /// For servers.
    pub(super) tls: OnceCell<Arc<ClientConfig>>,
    /// For https proxies: without ALPN.
    pub(super) proxy_tls: OnceCell<Arc<ClientConfig>>,
}

/// A connection that has just been made.
pub(super) enum Made {
    Http1(Http1),
    Http2(Http2),
}

/// How long the steps of a connection took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steps {
    /// Name to addresses.
    pub(super) dns: Duration,
    /// TCP, and the proxy's part.
    pub(super) connect: Duration,
    /// The TLS handshake.
    pub(super) tls: Duration,
}

impl Connector {
    /// Whether a connection to `url` may turn out to be one that requests share.
    pub(super) fn may_share(&self, url: &Url) -> bool {
        self.versions.http2 && (self.is_secure(url) || !self.versions.http1)
    }

    /// The guard's judgement of `url` itself, before anything is dialled or reused.
    pub(super) fn check(&self, url: &Url) -> Result<(), Error> {
        let Some(guard) = &self.guard else { return Ok(()) };
        let hidden = !matches!(self.route, Route::Natural) || self.proxies.for_url(url).is_some();
        if hidden {
            let text = "the guard cannot see where a proxy or a unix socket leads";
            return Err(Error::new(Kind::BlockedAddress, text));
        }
        guard.check_url(url)
    }

    /// A new connection to the origin of `url`.
    pub(super) async fn connect(&self, url: &Url, open: Open) -> Result<(Made, Steps), Error> {
        let mut steps = Steps::default();
        let proxy = match self.route {
            Route::Natural => self.proxies.for_url(url),
            Route::Unix(_) | Route::Fixed(_) => None,
        };
        let (stream, proxied) = match proxy {
            None => (self.reach(url, &mut steps).await?, None),
            Some(proxy) => self.reach_through(proxy, url, &mut steps).await?,
        };
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let host = HeaderValue::from_str(authority)
            .map_err(|_| Error::new(Kind::InvalidUrl, "the host is no header value"))?;
        if !self.is_secure(url) {
            let http2 = self.versions.http2 && !self.versions.http1;
            return Ok((speak(stream, http2, url, host, proxied, open).await?, steps));
        }
        let began = Instant::now();
        let config = self.tls.get_or_try_init(|| self.tls_config()).await?;
        let stream = handshake(stream, Arc::clone(config), url.host(), url).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if !http2 && !self.versions.http1 {
            let text = "the server does not speak HTTP/2, and http1 is off";
            return Err(Error::new(Kind::Protocol, text).during(Phase::Connect));
        }
        steps.tls += began.elapsed();
        Ok((speak(stream.into(), http2, url, host, proxied, open).await?, steps))
    }

    fn is_secure(&self, url: &Url) -> bool {
        url.scheme() == "https" && !matches!(self.route, Route::Fixed(_))
    }

    async fn tls_config(&self) -> Result<Arc<ClientConfig>, Error> {
        let alpn: &[&[u8]] = match (self.versions.http2, self.versions.http1) {
            (true, true) => &[b"h2", b"http/1.1"],
            (true, false) => &[b"h2"],
            _ => &[b"http/1.1"],
        };
        let trust = self.trust.clone();
        let config = READERS.run(move || tls::config(&trust, alpn)).await??;
        Ok(Arc::new(config))
    }

    async fn proxy_tls_config(&self) -> Result<Arc<ClientConfig>, Error> {
        let trust = Trust { verify: self.trust.verify.clone(), ..Trust::default() };
        let config = READERS.run(move || tls::config(&trust, &[])).await??;
        Ok(Arc::new(config))
    }

    /// A stream to the server itself.
    async fn reach(&self, url: &Url, steps: &mut Steps) -> Result<Stream, Error> {
        match &self.route {
            Route::Fixed(address) => Ok(dial(&[*address]).await?.into()),
            #[cfg(unix)]
            Route::Unix(path) => {
                let opened = tokio::net::UnixStream::connect(path).await;
                Ok(opened.map_err(|error| unreachable(&path.display().to_string(), &error))?.into())
            }
            #[cfg(not(unix))]
            Route::Unix(_) => Err(Error::new(Kind::Connect, "this system has no unix sockets")),
            Route::Natural => {
                let (host, port) = (url.host(), url.port_or_known_default().unwrap_or(80));
                let addresses = self.addresses(host, port, steps).await?;
                if let Some(guard) = &self.guard {
                    guard.check_all(&addresses)?;
                }
                let began = Instant::now();
                let stream = dial(&addresses).await?;
                steps.connect += began.elapsed();
                Ok(stream.into())
            }
        }
    }

    /// A stream to the server, or for http to the proxy, which takes the request itself.
    async fn reach_through(
        &self,
        proxy: &Proxy,
        url: &Url,
        steps: &mut Steps,
    ) -> Result<(Stream, Option<Proxied>), Error> {
        let port = url.port_or_known_default().unwrap_or(80);
        let blame = |error: Error| through(proxy, error);
        let at = UrlHost::parse(&proxy.host).map_err(|error| {
            Error::new(Kind::Proxy, format!("the proxy {}: {error}", proxy.shown()))
        })?;
        let near = self.addresses(Some(borrowed(&at)), proxy.port, steps).await.map_err(blame)?;
        let began = Instant::now();
        let mut stream = self.reach_proxy(proxy, &at, &near, url).await.map_err(blame)?;
        match proxy.scheme {
            Scheme::Http | Scheme::Https if !self.is_secure(url) => {
                steps.connect += began.elapsed();
                return Ok((stream, Some(Proxied { proxy: proxy.clone() })));
            }
            Scheme::Http | Scheme::Https => {
                let host = &url[Position::BeforeHost..Position::AfterHost];
                let mut answers = 0;
                while !tunnel::connect(&mut stream, proxy, host, port, answers).await? {
                    answers += 1;
                    stream = self.reach_proxy(proxy, &at, &near, url).await.map_err(blame)?;
                }
            }
            Scheme::Socks5h => {
                let target = match url.host() {
                    Some(UrlHost::Domain(name)) => Target::Name(name),
                    Some(UrlHost::Ipv4(address)) => Target::Address(address.into()),
                    Some(UrlHost::Ipv6(address)) => Target::Address(address.into()),
                    None => return Err(Error::new(Kind::InvalidUrl, "the URL names no host")),
                };
                tunnel::socks5(&mut stream, proxy, target, port).await?;
            }
            Scheme::Socks5 => {
                let addresses = self.addresses(url.host(), port, steps).await?;
                let Some(first) = addresses.first() else {
                    return Err(Error::new(Kind::Dns, "the host has no address"));
                };
                tunnel::socks5(&mut stream, proxy, Target::Address(first.ip()), port).await?;
            }
        }
        steps.connect += began.elapsed();
        Ok((stream, None))
    }

    /// A stream to the proxy itself, which is at one of these addresses.
    async fn reach_proxy(
        &self,
        proxy: &Proxy,
        at: &UrlHost<String>,
        addresses: &[SocketAddr],
        url: &Url,
    ) -> Result<Stream, Error> {
        let stream: Stream = dial(addresses).await?.into();
        if proxy.scheme != Scheme::Https {
            return Ok(stream);
        }
        let config = self.proxy_tls.get_or_try_init(|| self.proxy_tls_config()).await?;
        let tls = handshake(stream, Arc::clone(config), Some(borrowed(at)), url).await;
        Ok(tls?.into())
    }

    async fn addresses(
        &self,
        host: Option<UrlHost<&str>>,
        port: u16,
        steps: &mut Steps,
    ) -> Result<Arc<[SocketAddr]>, Error> {
        let literal = |address: IpAddr| Arc::from([SocketAddr::new(address, port)]);
        match host {
            Some(UrlHost::Ipv4(address)) => Ok(literal(address.into())),
            Some(UrlHost::Ipv6(address)) => Ok(literal(address.into())),
            Some(UrlHost::Domain(name)) => {
                let began = Instant::now();
                let found = self.resolver.lookup(name, port).await;
                steps.dns += began.elapsed();
                found
            }
            None => Err(Error::new(Kind::InvalidUrl, "the URL names no host")),
        }
    }
}

fn borrowed(host: &UrlHost<String>) -> UrlHost<&str> {
    match host {
        UrlHost::Domain(name) => UrlHost::Domain(name.as_str()),
        UrlHost::Ipv4(address) => UrlHost::Ipv4(*address),
        UrlHost::Ipv6(address) => UrlHost::Ipv6(*address),
    }
}

/// The failure to reach a proxy is the proxy's, whatever it was.
fn through(proxy: &Proxy, mut error: Error) -> Error {
    error.message = format!("cannot use the proxy {}: {}", proxy.shown(), error.message);
    error.kind = Kind::Proxy;
    error
}

fn unreachable(what: &str, error: &std::io::Error) -> Error {
    Error::system(Kind::Connect, &format!("cannot connect to {what}"), error).during(Phase::Connect)
}

async fn handshake(
    stream: Stream,
    config: Arc<ClientConfig>,
    host: Option<UrlHost<&str>>,
    url: &Url,
) -> Result<tokio_rustls::client::TlsStream<Stream>, Error> {
    let name = match host {
        Some(UrlHost::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_owned();
            ServerName::try_from(name).map_err(|_| {
                Error::new(Kind::Tls, "no certificate can be for the name of this host")
            })?
        }
        Some(UrlHost::Ipv4(address)) => ServerName::IpAddress(IpAddr::V4(address).into()),
        Some(UrlHost::Ipv6(address)) => ServerName::IpAddress(IpAddr::V6(address).into()),
        None => return Err(Error::new(Kind::InvalidUrl, "the URL names no host")),
    };
    let shaken = TlsConnector::from(config).connect(name, stream).await;
    shaken.map_err(|error| failure::of_tls(&error, url))
}

/// Begins HTTP on a stream, and moves its bytes on a task of its own.
async fn speak(
    stream: Stream,
    http2: bool,
    url: &Url,
    host: HeaderValue,
    proxied: Option<Proxied>,
    open: Open,
) -> Result<Made, Error> {
    let named = |error: hyper::Error| failure::name(&error, Phase::Connect, url);
    // What goes wrong on the tasks is reported to the requests that are under way.
    if http2 {
        let mut builder = http2::Builder::new(Spawner);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
        let (sender, moving) = builder.handshake(TokioIo::new(stream)).await.map_err(named)?;
        let task = runtime::spawn(async move {
            let _ = moving.await;
        })?;
        return Ok(Made::Http2(Http2::new(sender, Wire::new(host, proxied, task, open))));
    }
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_header_size(MAX_HEAD);
    let ear = stream.ear();
    let (sender, moving) = builder.handshake(TokioIo::new(stream)).await.map_err(named)?;
    let task = runtime::spawn(async move {
        let _ = moving.await;
    })?;
    Ok(Made::Http1(Http1::new(sender, ear, Wire::new(host, proxied, task, open))))
}

/// Runs the tasks that hyper's HTTP/2 needs.
#[derive(Clone, Copy, Debug)]
struct Spawner;

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let _ = runtime::spawn(async move {
            let _ = future.await;
        });
    }
}
