//! The look-ups of a process: those under way, shared by all who wait, and the latest answers.
//!
//! Law: a look-up is in `running` from the moment it is queued until it has ended, or until the
//! last who waited left before it began. All of that happens under one lock, which is never held
//! while the resolver works.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::{Error, Kind, Phase};
use crate::runtime;
use crate::threads::{Running, Threads};

/// How long an answer serves. Names change their addresses for reasons; ten seconds spare a burst
/// of requests the look-ups, and are what a client waits for a connection anyway.
const FRESH: Duration = Duration::from_secs(10);
/// Names whose answers are kept; arbitrary.
const KEPT: usize = 1_024;

/// The look-ups that all clients share.
pub(super) static SYSTEM: Lookups = Lookups::new(ask_system, FRESH);

type Ask = fn(&str) -> io::Result<Vec<SocketAddr>>;
type Answer = Result<Arc<[SocketAddr]>, Failure>;

/// What resolves names: [`ask_system`], or a test's own.
#[derive(Debug)]
pub(super) struct Lookups {
    threads: Threads,
    state: Mutex<State>,
    ask: Ask,
    /// How long an answer serves.
    fresh: Duration,
}

#[derive(Debug)]
struct State {
    running: BTreeMap<String, Lookup>,
    answers: BTreeMap<String, (Instant, Arc<[SocketAddr]>)>,
    begun: u64,
    abandoned: u64,
}

/// One look-up under way.
#[derive(Debug)]
struct Lookup {
    /// Tells this look-up from a later one of the same name.
    number: u64,
    answer: watch::Receiver<Option<Answer>>,
    /// Dropped with the entry, which takes a look-up back that has not begun.
    _work: Running<()>,
    waiting: usize,
    /// Written by the thread that looks up.
    has_begun: bool,
}

/// What an [`Error`] is made of, for each of those who wait.
#[derive(Clone, Debug)]
struct Failure {
    kind: Kind,
    text: String,
    errno: Option<i32>,
}

/// One of those who wait.
struct Waiter<'a> {
    lookups: &'static Lookups,
    host: &'a str,
    number: u64,
}

impl Lookups {
    pub(super) const fn new(ask: Ask, fresh: Duration) -> Self {
        let state =
            State { running: BTreeMap::new(), answers: BTreeMap::new(), begun: 0, abandoned: 0 };
        Self { threads: Threads::new("offloop-dns", 8), state: Mutex::new(state), ask, fresh }
    }

    pub(super) fn abandoned(&self) -> u64 {
        if runtime::check_alive().is_err() {
            return 0;
        }
        self.lock().abandoned
    }

    /// The addresses of `host`, with any port.
    pub(super) async fn find(&'static self, host: &str) -> Result<Arc<[SocketAddr]>, Error> {
        // First of all: a forked child may have inherited a lock that nobody will ever open.
        runtime::check_alive()?;
        let (mut answer, _waiter) = {
            let mut state = self.lock();
            if let Some((since, addresses)) = state.answers.get(host)
                && since.elapsed() < self.fresh
            {
                return Ok(Arc::clone(addresses));
            }
            self.join(&mut state, host)?
        };
        let answer = answer.wait_for(Option::is_some).await;
        let answer = answer.ok().and_then(|answer| answer.clone());
        let Some(answer) = answer else {
            return Err(Error::new(Kind::Internal, "a look-up ended without an answer"));
        };
        answer.map_err(|failure| {
            let text = format!("cannot resolve {host}: {}", failure.text);
            let mut error = Error::new(failure.kind, text).during(Phase::Connect);
            error.errno = failure.errno;
            error
        })
    }

    /// Waits for the look-up of `host` that is under way, or for a new one.
    fn join<'a>(
        &'static self,
        state: &mut State,
        host: &'a str,
    ) -> Result<(watch::Receiver<Option<Answer>>, Waiter<'a>), Error> {
        if let Some(lookup) = state.running.get_mut(host) {
            lookup.waiting += 1;
            let waiter = Waiter { lookups: self, host, number: lookup.number };
            return Ok((lookup.answer.clone(), waiter));
        }
        let number = state.begun;
        let (tell, answer) = watch::channel(None);
        let name = host.to_owned();
        let work = self.threads.try_run(move || self.look_up(&name, number, &tell))?;
        state.begun += 1;
        let lookup =
            Lookup { number, answer: answer.clone(), _work: work, waiting: 1, has_begun: false };
        state.running.insert(host.to_owned(), lookup);
        Ok((answer, Waiter { lookups: self, host, number }))
    }

    /// The work of a thread.
    fn look_up(&self, host: &str, number: u64, tell: &watch::Sender<Option<Answer>>) {
        match self.lock().running.get_mut(host) {
            Some(lookup) if lookup.number == number => lookup.has_begun = true,
            // Everybody left between the queue and here.
            _ => return,
        }
        // A panic must not leave the entry behind: nobody would ever get this name resolved.
        let asked = catch_unwind(AssertUnwindSafe(|| (self.ask)(host)));
        let failure = |text, errno| Failure { kind: Kind::Dns, text, errno };
        let answer = match asked {
            Ok(Ok(found)) if found.is_empty() => Err(failure("it has no address".into(), None)),
            Ok(Ok(found)) => Ok(found.into()),
            Ok(Err(error)) => Err(failure(error.to_string(), error.raw_os_error())),
            Err(payload) => {
                let Error { kind, message: text, .. } = Error::from_panic(payload.as_ref());
                Err(Failure { kind, text, errno: None })
            }
        };
        let mut state = self.lock();
        if let Ok(addresses) = &answer {
            state.keep(host, addresses, self.fresh);
        }
        let ended = state.running.remove(host);
        drop(state);
        drop(ended);
        tell.send_replace(Some(answer));
    }

    /// Look-ups under way, and answers kept.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running.len(), state.answers.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, host: &str, addresses: &Arc<[SocketAddr]>, fresh: Duration) {
        if self.answers.len() >= KEPT {
            self.answers.retain(|_, (since, _)| since.elapsed() < fresh);
        }
        if self.answers.len() >= KEPT {
            let oldest = self.answers.iter().min_by_key(|(_, (since, _))| *since);
            if let Some(host) = oldest.map(|(host, _)| host.clone()) {
                self.answers.remove(&host);
            }
        }
        self.answers.insert(host.to_owned(), (Instant::now(), Arc::clone(addresses)));
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if runtime::check_alive().is_err() {
            return;
        }
        let mut state = self.lookups.lock();
        let Some(lookup) = state.running.get_mut(self.host) else { return };
        if lookup.number != self.number {
            return;
        }
        lookup.waiting -= 1;
        if lookup.waiting > 0 {
            return;
        }
        if lookup.has_begun {
            state.abandoned += 1;
            return;
        }
        let taken_back = state.running.remove(self.host);
        // The queue of the threads has a lock of its own.
        drop(state);
        drop(taken_back);
    }
}

fn ask_system(host: &str) -> io::Result<Vec<SocketAddr>> {
    (host, 0).to_socket_addrs().map(Iterator::collect)
}
