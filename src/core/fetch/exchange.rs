//! One exchange: a lease on a connection, the request on its way, the head of the response.
//!
//! A kept-alive connection may have been closed by the server while it was idle (RFC 9112
//! §9.3.1). What was never written is sent again; what was written is sent once more if the
//! method is idempotent, on a fresh connection, before any byte of a response. The same goes for
//! streams that a server of HTTP/2 says it has not touched.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode};
use url::Position;

use super::body::Answer;
use super::client::{Inner, Way};
use super::connect::Made;
use super::failure;
use super::message::message;
use super::pool::{Connection, Host, Http1, Lease, Permits, Pool, Proxied, Speaks};
use super::request::Request;
use super::response::Timings;
use super::stats::add;
use super::timeout::Clock;
use super::upload::Progress;
use super::url::redacted;
use crate::error::{Attempt, Error, Kind, Phase};

/// What one request goes through, from its first hop to its last.
pub(super) struct Trip {
    pub(super) clock: Clock,
    pub(super) timings: Timings,
    /// Whether the latest exchange was on a connection that had served before.
    pub(super) reused: bool,
    /// The tries so far, besides the present one.
    pub(super) attempts: Vec<Attempt>,
    /// How it is sent.
    pub(super) way: Way,
}

/// A header that is for this exchange alone.
pub(super) type Extra = (HeaderName, HeaderValue);

/// Why an exchange failed, and whether it may be repeated without asking.
struct Failed {
    error: Error,
    again: Again,
}

/// Whether an exchange that failed may be repeated.
#[derive(PartialEq, Eq)]
enum Again {
    No,
    /// On a fresh connection: the one it was on had been closed.
    Fresh,
    /// With an answer to the proxy's challenge.
    Answered,
}

impl Inner {
    /// Sends `request` and waits for the head of the response.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        extra: &[Extra],
        trip: &mut Trip,
    ) -> Result<Answer, Error> {
        self.connector.check(&request.url).map_err(|error| error.during(Phase::Connect))?;
        let origin = &request.url[..Position::BeforePath];
        let host = self.pool.host(origin);
        let (mut fresh, mut answers) = (false, 0);
        loop {
            let began = Instant::now();
            let shareable = self.connector.may_share(&request.url);
            let kept =
                if fresh { None } else { self.pool.try_lease(&host, shareable, trip.way.exempt) };
            let kept = match kept {
                Some(lease) => self.awake(lease).await,
                None => None,
            };
            let lease = match kept {
                Some(lease) => lease,
                // Boxed, because it is far larger than the usual way, which should not carry it.
                None => Box::pin(self.lease(request, &host, fresh, trip)).await?,
            };
            match self.send(lease, request, extra, answers, trip).await {
                Ok(answer) => return Ok(answer),
                Err(Failed { error, again: Again::Fresh })
                    if !fresh && request.content.is_replayable() =>
                {
                    add(&self.counters.replayed, 1);
                    trip.note(request, None, Some(&error), began);
                    fresh = true;
                }
                Err(Failed { error, again: Again::Answered })
                    if request.content.is_replayable() =>
                {
                    let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED.as_u16();
                    trip.note(request, Some(status), Some(&error), began);
                    answers += 1;
                }
                Err(failed) => return Err(failed.error),
            }
        }
    }

    /// The lease, once its connection can take a request; None if it has closed meanwhile.
    async fn awake(&self, mut lease: Lease) -> Option<Lease> {
        if let Connection::Http1(connection) = &mut lease.connection
            && !is_ready(connection).await
        {
            return None;
        }
        add(&self.counters.reused, 1);
        Some(lease)
    }

    /// A connection to send on: a kept one unless `fresh`, else a new one.
    async fn lease(
        &self,
        request: &Request,
        host: &Arc<Host>,
        fresh: bool,
        trip: &mut Trip,
    ) -> Result<Lease, Error> {
        let queued = Instant::now();
        let mut permits = self.queue(request, trip, self.pool.enter(host)).await?;
        let shareable = self.connector.may_share(&request.url);
        let mut first = None;
        if shareable && host.speaks() != Speaks::Http1 {
            if let Some(shared) = host.shared().filter(|_| !fresh) {
                return self.stream(request, shared, true, host, permits, trip).await;
            }
            first = Some(self.queue(request, trip, host.dialling.lock()).await?);
            if let Some(shared) = host.shared() {
                drop(first);
                return self.stream(request, shared, true, host, permits, trip).await;
            }
        }
        if !trip.way.exempt && !self.pool.try_permit(host, &mut permits) {
            self.queue(request, trip, self.pool.permit(host, &mut permits)).await?;
        }
        if let Some(rate) = &host.rate {
            self.queue(request, trip, rate.turn()).await?;
        }
        trip.timings.queued += queued.elapsed();
        if !fresh {
            while let Some(mut connection) = host.checkout(self.pool.limits.idle) {
                if is_ready(&mut connection).await {
                    add(&self.counters.reused, 1);
                    return Ok(Lease::own(connection, true, Arc::clone(host), permits));
                }
            }
        }
        let made = self.connect(request, trip).await?;
        let lease = match made {
            Made::Http1(connection) => {
                host.learn(Speaks::Http1);
                Ok(Lease::own(connection, false, Arc::clone(host), permits))
            }
            Made::Http2(connection) => {
                host.learn(Speaks::Http2);
                Pool::unpermit(&mut permits);
                let shared = host.share(connection);
                self.stream(request, shared, false, host, permits, trip).await
            }
        };
        drop(first);
        lease
    }

    async fn connect(&self, request: &Request, trip: &mut Trip) -> Result<Made, Error> {
        let limit = request.timeouts.connect;
        let connecting = Box::pin(self.connector.connect(&request.url, self.pool.open()));
        let made = trip.clock.limit(Kind::ConnectTimeout, Phase::Connect, limit, connecting).await;
        let (made, steps) =
            made.and_then(|made| made).map_err(|error| error.during(Phase::Connect))?;
        add(&self.counters.opened, 1);
        trip.timings.dns += steps.dns;
        trip.timings.connect += steps.connect;
        trip.timings.tls += steps.tls;
        Ok(made)
    }

    async fn stream(
        &self,
        request: &Request,
        shared: Arc<super::pool::Http2>,
        reused: bool,
        host: &Arc<Host>,
        permits: Permits,
        trip: &mut Trip,
    ) -> Result<Lease, Error> {
        if reused {
            add(&self.counters.reused, 1);
        }
        let stream = Lease::stream(shared, reused, Arc::clone(host), permits);
        let stream = self.queue(request, trip, stream).await?;
        stream.ok_or_else(|| Error::new(Kind::Connect, "the connection has closed"))
    }

    /// Waits in a queue, for as long as that is allowed.
    async fn queue<T>(
        &self,
        request: &Request,
        trip: &Trip,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let _waiting = super::stats::While::counting(&self.pool.waiting);
        let limit = request.timeouts.pool;
        trip.clock.limit(Kind::PoolTimeout, Phase::Queue, limit, work).await
    }

    async fn send(
        &self,
        mut lease: Lease,
        request: &Request,
        extra: &[Extra],
        answers: u32,
        trip: &mut Trip,
    ) -> Result<Answer, Failed> {
        trip.reused = lease.reused;
        let final_ = |error| Failed { error, again: Again::No };
        let Some(body) = request.content.open() else {
            let text = "the body of the request has been sent already";
            return Err(final_(Error::new(Kind::UnreplayableBody, text)));
        };
        let progress = body.progress();
        let watched = progress.as_deref();
        let began = Instant::now();
        let idempotent = request.method.is_idempotent() && self.options.retry_stale;
        let mut reads = 0;
        let sent = match &mut lease.connection {
            Connection::Http1(connection) => {
                reads = connection.ear().reads();
                if request.verbatim {
                    connection.ear().listen();
                }
                let message =
                    message(request, body, extra, connection.wire(), false).map_err(final_)?;
                let sending = connection.sender.try_send_request(message);
                self.watch(sending, request, watched, trip).await
            }
            Connection::Http2(connection, _) => {
                add(&self.counters.http2, 1);
                let message =
                    message(request, body, extra, connection.wire(), true).map_err(final_)?;
                let sending = connection.sender.clone().try_send_request(message);
                self.watch(sending, request, watched, trip).await
            }
        };
        let sent_bytes = watched.map_or_else(|| request.content.small_len(), Progress::sent);
        add(&self.counters.sent, sent_bytes);
        trip.timings.first_byte = began.elapsed();
        match sent {
            Err(overdue) => Err(final_(overdue)),
            Ok(Ok(response)) => {
                let challenged = response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
                    && proxied(&lease)
                        .is_some_and(|it| it.proxy.challenges(response.headers(), answers));
                let again = if challenged { Again::Answered } else { Again::No };
                let accepted = self.accept(response, lease, request, trip);
                accepted.map_err(|error| Failed { error, again })
            }
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message().is_some();
                let failed = failed.into_error();
                let refused = failure::is_refused(&failed);
                let silent = failure::is_cut(&failed);
                let untouched = match &lease.connection {
                    Connection::Http1(connection) => connection.ear().reads() == reads,
                    Connection::Http2(connection, _) => {
                        lease.host.retire(connection);
                        true
                    }
                };
                let silent = silent && untouched;
                let stale = refused || (lease.reused && (unsent || (silent && idempotent)));
                let reason = progress.and_then(|progress| progress.failure());
                let error =
                    reason.unwrap_or_else(|| failure::name(&failed, Phase::Head, &request.url));
                Err(Failed { error, again: if stale { Again::Fresh } else { Again::No } })
            }
        }
    }

    /// Waits for the head: first while the body goes out, then for the answer.
    async fn watch<T>(
        &self,
        sending: impl Future<Output = T>,
        request: &Request,
        progress: Option<&Progress>,
        trip: &Trip,
    ) -> Result<T, Error> {
        let timeouts = &request.timeouts;
        let mut sending = pin!(sending);
        if let Some(progress) = progress {
            loop {
                let before = progress.sent();
                let mut finished = pin!(progress.finished());
                let mut answer = None;
                let step = poll_fn(|context| match sending.as_mut().poll(context) {
                    Poll::Ready(head) => {
                        answer = Some(head);
                        Poll::Ready(())
                    }
                    Poll::Pending => finished.as_mut().poll(context),
                });
                let limit = timeouts.write;
                let in_time =
                    match trip.clock.limit(Kind::WriteTimeout, Phase::Send, limit, step).await {
                        Ok(()) => true,
                        // There was progress; but a timer is coarse, and a limit may be fine.
                        Err(error)
                            if error.kind == Kind::WriteTimeout
                                && progress.sent() > before
                                && limit.is_none_or(|limit| progress.longest_pause() <= limit) =>
                        {
                            false
                        }
                        Err(error) => return Err(error),
                    };
                match answer {
                    Some(answer) => return Ok(answer),
                    None if in_time || progress.is_finished() => break,
                    None => {}
                }
            }
        }
        trip.clock.limit(Kind::ReadTimeout, Phase::Head, timeouts.read, sending).await
    }
}

/// Whether a kept connection takes a request. One that still sends the body of a request which
/// was answered early may never do so, and is closed instead of being waited for.
async fn is_ready(connection: &mut Http1) -> bool {
    /// Arbitrary: far more than a free connection needs to notice that it is free.
    const PATIENCE: Duration = Duration::from_millis(100);
    if connection.sender.is_ready() {
        return true; // as nearly always, and then without a timer
    }
    matches!(tokio::time::timeout(PATIENCE, connection.sender.ready()).await, Ok(Ok(())))
}

pub(super) fn proxied(lease: &Lease) -> Option<&Proxied> {
    match &lease.connection {
        Connection::Http1(connection) => connection.wire().proxied.as_ref(),
        Connection::Http2(connection, _) => connection.wire().proxied.as_ref(),
    }
}

impl Trip {
    /// Writes one try down.
    pub(super) fn note(
        &mut self,
        request: &Request,
        status: Option<u16>,
        error: Option<&Error>,
        began: Instant,
    ) {
        self.attempts.push(Attempt {
            url: redacted(&request.url),
            status,
            error: error.map(|error| (error.kind, error.message.clone())),
            reused: self.reused,
            took: began.elapsed(),
        });
    }

    pub(super) fn begin(clock: Clock) -> Self {
        Self {
            clock,
            timings: Timings::default(),
            reused: false,
            attempts: Vec::new(),
            way: Way::default(),
        }
    }
}

/// Requests waiting for a connection.
pub(super) fn waiting(pool: &Pool) -> u64 {
    pool.waiting.load(Ordering::Relaxed)
}
