//! The client: runs one request to its answer, hop by hop and try by try.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::header::{AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use tokio::sync::OnceCell;
use url::Position;

use super::batch::Slot;
use super::body::{Answer, DecodedBody, Whole};
use super::connect::{Connector, Route, Versions};
use super::cookies::Jar;
use super::digest::Challenge;
use super::exchange::Extra;
use super::guard::Guard;
use super::journey::Journey;
use super::keep::{Keeper, keep};
use super::opened::Opened;
use super::pool::{Limits, Pool};
use super::proxy::Proxies;
use super::readahead::ReadAhead;
use super::redirect;
use super::request::Request;
use super::resolve::Resolver;
use super::response::{Asked, Body, Head, Response};
use super::retry::Budget;
use super::room::{self, Builder};
use super::stats::{Counters, Stats, While, add, count_in};
use super::tls::Trust;
use super::url::redacted;
use crate::error::{Error, Kind};

/// What is fixed when a client is made.
#[derive(Debug)]
pub struct Options {
    /// How much may be under way at once.
    pub limits: Limits,
    /// How many redirects one request may follow.
    pub max_redirects: usize,
    /// Replay idempotent requests whose kept-alive connection turned out to be closed.
    pub retry_stale: bool,
    /// A body may grow so many times when it is decoded.
    pub max_ratio: Option<u32>,
    /// Header names that cross origins in redirects, besides the harmless ones.
    pub cross_origin_headers: Vec<HeaderName>,
    /// Retries per request, on average.
    pub retry_budget: f64,
    /// Where connections go.
    pub route: Route,
    /// What is spoken.
    pub versions: Versions,
    /// Which proxy for which URL.
    pub proxies: Proxies,
    /// Which addresses are allowed.
    pub guard: Option<Guard>,
    /// Whom to believe.
    pub trust: Trust,
    /// Names that are not looked up.
    pub resolve: Vec<(String, String)>,
    /// Where cookies are kept.
    pub jar: Option<Jar>,
}

/// Fetches; cheap to clone, shared by any number of threads and loops.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Settings,
    pub(super) connector: Connector,
    pub(super) pool: Arc<Pool>,
    pub(super) counters: Arc<Counters>,
    jar: Option<Jar>,
    pub(super) budget: Budget,
    /// The latest digest challenge of each origin; bounded by `DIGESTS`.
    digests: Mutex<HashMap<Box<str>, Challenge>>,
}

/// The options that policy asks for again and again.
#[derive(Debug)]
pub(super) struct Settings {
    max_redirects: usize,
    pub(super) retry_stale: bool,
    max_ratio: Option<u32>,
    cross_origin_headers: Vec<HeaderName>,
}

/// Origins whose digest challenge is remembered; arbitrary.
const DIGESTS: usize = 256;

/// How one of many requests is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// Its place among them.
    pub(super) slot: Option<Arc<Slot>>,
    /// They are limited among themselves, and hold no permits of the pool for connections.
    pub(super) exempt: bool,
    /// Takes their bodies.
    pub(super) keeper: Option<Arc<dyn Keeper>>,
    /// Makes room for large ones.
    pub(super) builder: Option<Arc<dyn Builder>>,
}

impl Client {
    /// A client without connections.
    ///
    /// # Errors
    /// `InvalidUrl` for an address in `resolve` that is none.
    pub fn new(options: Options) -> Result<Self, Error> {
        let connector = Connector {
            route: options.route,
            versions: options.versions,
            proxies: options.proxies,
            guard: options.guard,
            resolver: Resolver::new(&options.resolve)?,
            trust: options.trust,
            tls: OnceCell::new(),
            proxy_tls: OnceCell::new(),
        };
        let settings = Settings {
            max_redirects: options.max_redirects,
            retry_stale: options.retry_stale,
            max_ratio: options.max_ratio,
            cross_origin_headers: options.cross_origin_headers,
        };
        let inner = Inner {
            options: settings,
            connector,
            pool: Arc::new(Pool::new(options.limits)),
            counters: Arc::default(),
            jar: options.jar,
            budget: Budget::new(options.retry_budget),
            digests: Mutex::default(),
        };
        count_in(&inner.counters, &inner.pool);
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends `request`, follows redirects, reads the whole body; `builder` is asked for room if
    /// it is a large one.
    ///
    /// # Errors
    /// Any kind of a fetch; the message carries no secrets.
    pub async fn fetch(
        self,
        request: Request,
        builder: Arc<dyn Builder>,
    ) -> Result<Box<Response>, Box<Error>> {
        self.fetch_by(request, Way { builder: Some(builder), ..Way::default() }).await
    }

    /// As `fetch`, for one of many requests.
    pub(super) async fn fetch_by(
        self,
        mut request: Request,
        way: Way,
    ) -> Result<Box<Response>, Box<Error>> {
        let inner = &*self.inner;
        let _under_way = inner.begin();
        let mut journey = Journey::begin(&request);
        journey.trip.way = way;
        let asked = Arc::clone(&request.url);
        loop {
            let keeper = journey.trip.way.keeper.clone();
            let sink = keeper.as_ref().map(|keeper| keeper.begin(&asked)).transpose();
            let sink = sink.map_err(|error| journey.blame(error, &request, &inner.counters))?;
            let answer = inner.answer(&mut request, &mut journey).await?;
            let began = Instant::now();
            // What a server says instead of what was asked for belongs into no file.
            let sink = sink.filter(|_| answer.status.is_success());
            if let Some(keeper) = keeper.filter(|_| sink.is_some()) {
                request.max_body = keeper.max_body();
            }
            let (head, mut body) = inner.body(answer, &request, &mut journey)?;
            let collected = match sink {
                Some(sink) => {
                    if !request.timeouts.total_is_given {
                        body.unbound();
                    }
                    Box::pin(keep(&mut body, sink)).await
                }
                None => room::collect(&mut body, journey.trip.way.builder.as_deref()).await,
            };
            match collected {
                Ok(collected) => {
                    journey.trip.timings.body = began.elapsed();
                    journey.trip.timings.decode = body.decoding;
                    return Ok(journey.arrive(head, collected, body.received()));
                }
                Err(error) => {
                    let wait = inner.after_failure(error, &request, &mut journey)?;
                    inner.pause(wait, &request, &mut journey).await?;
                }
            }
        }
    }

    /// Sends `request`, follows redirects, leaves the body to be read.
    ///
    /// # Errors
    /// As `fetch`.
    pub async fn open(self, mut request: Request) -> Result<Box<Response>, Box<Error>> {
        let inner = &*self.inner;
        let _under_way = inner.begin();
        let mut journey = Journey::begin(&request);
        let answer = inner.answer(&mut request, &mut journey).await?;
        let (head, mut body) = inner.body(answer, &request, &mut journey)?;
        if !request.timeouts.total_is_given {
            body.unbound();
        }
        Ok(journey.arrive(head, Body::Streaming(ReadAhead::new(body)), 0))
    }

    /// Sends `request`, follows redirects, hands over the body to whoever takes its pieces.
    ///
    /// # Errors
    /// As `fetch`.
    pub async fn begin(self, request: Request) -> Result<Opened, Box<Error>> {
        self.begin_by(request, Way::default()).await
    }

    /// As `begin`, for one of many requests.
    pub(super) async fn begin_by(
        self,
        mut request: Request,
        way: Way,
    ) -> Result<Opened, Box<Error>> {
        let inner = &*self.inner;
        let _under_way = inner.begin();
        let mut journey = Journey::begin(&request);
        journey.trip.way = way;
        let answer = inner.answer(&mut request, &mut journey).await?;
        let (head, mut body) = inner.body(answer, &request, &mut journey)?;
        if !request.timeouts.total_is_given {
            body.unbound();
        }
        let response = journey.arrive(head, Body::Whole(Whole::default()), 0);
        Ok(Opened::new(response, body))
    }

    /// Lets all idle connections go; requests under way go on.
    pub fn close(&self) {
        self.inner.pool.close();
    }

    /// What this client has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.inner.counters, Some(&self.inner.pool))
    }
}

impl Inner {
    fn begin(&self) -> While<'_> {
        add(&self.counters.requests, 1);
        self.budget.deposit();
        While::counting(&self.counters.in_flight)
    }

    /// The head of the response that is neither a redirect, nor a challenge, nor tried again.
    async fn answer(
        &self,
        request: &mut Request,
        journey: &mut Journey,
    ) -> Result<Answer, Box<Error>> {
        loop {
            let began = Instant::now();
            let extra = self.extra(request);
            let answer = match self.exchange(request, &extra, &mut journey.trip).await {
                Ok(answer) => answer,
                Err(error) => {
                    let wait = self.after_failure(error, request, journey)?;
                    self.pause(wait, request, journey).await?;
                    continue;
                }
            };
            if let Some(jar) = &self.jar {
                jar.store(&request.url, &answer.headers);
            }
            if self.challenged(request, &answer, journey) {
                answer.wire.drain().await;
                continue;
            }
            if let Some(wait) = self.worth_a_retry(request, &answer, journey) {
                journey.note(request, Some(answer.status), None, began);
                answer.wire.drain().await;
                self.pause(wait, request, journey).await?;
                continue;
            }
            let asked = Asked::of(request);
            let also = &self.options.cross_origin_headers;
            match redirect::advance(request, answer.status, &answer.headers, also) {
                Ok(false) => return Ok(answer),
                Ok(true) if journey.history.len() < self.options.max_redirects => {}
                Ok(true) => {
                    let most = self.options.max_redirects;
                    let text =
                        format!("{} redirected more than {most} times", redacted(&asked.url));
                    let error = Error::new(Kind::TooManyRedirects, text).at(redacted(&asked.url));
                    return Err(journey.blame(error, request, &self.counters));
                }
                Err(error) => return Err(journey.blame(error, request, &self.counters)),
            }
            add(&self.counters.redirected, 1);
            journey.challenges = 0;
            let Answer { status, version, headers, reason, sent, wire } = answer;
            let reason = reason.map(|reason| Arc::from(reason.as_bytes()));
            wire.drain().await;
            let elsewhere =
                asked.url[..Position::BeforePath] != request.url[..Position::BeforePath];
            journey.history.push(Head { status, reason, version, headers, sent, asked });
            if elsewhere && journey.trip.way.slot.is_some() {
                self.change_host(request, journey).await?;
            }
        }
    }

    /// The headers that are for this exchange alone.
    fn extra(&self, request: &Request) -> Vec<Extra> {
        let mut extra = Vec::new();
        if let Some(value) = self.jar.as_ref().and_then(|jar| jar.header_for(&request.url)) {
            extra.push((COOKIE, value));
        }
        if let Some(credentials) = &request.digest {
            let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
            let origin = &request.url[..Position::BeforePath];
            if let Some(challenge) = digests.get_mut(origin) {
                let target = &request.url[Position::BeforePath..Position::AfterQuery];
                let (user, password) = (&credentials.user, &credentials.password);
                let value = challenge.answer(user, password, &request.method, target, None);
                extra.push((AUTHORIZATION, value));
            }
        }
        extra
    }

    /// Takes a digest challenge; true when it is worth an answer.
    fn challenged(&self, request: &Request, answer: &Answer, journey: &mut Journey) -> bool {
        let origin = &request.url[..Position::BeforePath];
        if answer.status != StatusCode::UNAUTHORIZED
            || request.digest.is_none()
            || !request.content.is_replayable()
        {
            return false;
        }
        let Some(challenge) = Challenge::parse(&answer.headers, WWW_AUTHENTICATE) else {
            return false;
        };
        // One answer for each challenge, and one more if only the nonce was too old: a server
        // that is never content must not keep us going round.
        let most = if challenge.is_stale() { 2 } else { 1 };
        let worth = journey.challenges < most;
        journey.challenges += 1;
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if digests.len() >= DIGESTS && !digests.contains_key(origin) {
            digests.clear();
        }
        digests.insert(origin.into(), challenge);
        worth
    }

    /// The two parts of an answer that is to be read.
    fn body(
        &self,
        answer: Answer,
        request: &Request,
        journey: &mut Journey,
    ) -> Result<(Head, DecodedBody), Box<Error>> {
        let Answer { status, version, headers, reason, sent, wire } = answer;
        let made = DecodedBody::new(wire, &headers, request.max_body, self.options.max_ratio);
        let body = made.map_err(|error| journey.blame(error, request, &self.counters))?;
        let reason = reason.map(|reason| Arc::from(reason.as_bytes()));
        let asked = Asked::of(request);
        Ok((Head { status, reason, version, headers, sent, asked }, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_under_way_stays_small() {
        fn size<A, B, C, R>(_: impl Fn(A, B, C) -> R) -> usize {
            size_of::<R>()
        }
        // It is moved once into its box, and as many of them wait as there are fetches.
        assert!(size(Client::fetch) < 5_000);
    }
}
