//! The connections of one download: who fetches which part, and what is done when one of them
//! breaks, lies, or meets another entity.
//!
//! Futures of one task of the runtime, so they share what they know without waiting for each other.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use http::HeaderMap;
use tokio::sync::Notify;

use super::Wanted;
use super::answer::{Answer, Asked, judge};
use super::flow::{Broken, Flow, too_large};
use super::meter::Step;
use super::part::{Entity, Part};
use super::plan::Segment;
use super::range::is_coded;
use super::transfer::{Transfer, on_disk};
use crate::checksum::Checksum;
use crate::error::{Error, Kind, Phase};
use crate::fetch::{Opened, redacted};

/// New bytes that make a broken connection count as a fresh start and not as one more failure.
const HEADWAY: u64 = 1024 * 1024;

/// Why the work of one round ended before all was there.
enum Halt {
    /// A connection broke: others, or another one, may go on.
    Broken(Box<Error>),
    /// There is no use in going on.
    Final(Box<Error>),
    /// The server told something that cannot be true.
    Lie(&'static str),
    /// The entity is another one by now; this is it, whole.
    Changed(Box<Opened>),
}

/// A whole response that has been asked for already, and what it is.
pub(super) type First = Option<Box<Opened>>;

/// The connections of one download.
pub(super) struct Crew<'transfer> {
    transfer: &'transfer Transfer<'transfer>,
    part: &'transfer Arc<Part>,
    /// Checksums that the server gave of the whole.
    promised: Mutex<Vec<Checksum>>,
    /// No ranges any more: the server has lied about them, or has another entity by now.
    plain: bool,
    /// Bytes of several answers have been put together.
    joined: AtomicBool,
}

type Work<'crew> = Pin<Box<dyn Future<Output = Result<(), Halt>> + Send + 'crew>>;

impl<'transfer> Crew<'transfer> {
    pub(super) fn new(
        transfer: &'transfer Transfer<'transfer>,
        part: &'transfer Arc<Part>,
    ) -> Self {
        Self {
            transfer,
            part,
            promised: Mutex::default(),
            plain: false,
            joined: AtomicBool::new(false),
        }
    }

    /// Fetches all there is to fetch.
    pub(super) async fn fetch(
        &mut self,
        mut first: First,
        resumed: &mut u64,
    ) -> Result<(), Box<Error>> {
        let (mut failures, mut lied) = (0, false);
        loop {
            let before = self.part.plan().done().bytes();
            let halt = match self.round(first.take()).await {
                Ok(()) => return Ok(()),
                Err(halt) => halt,
            };
            match halt {
                Halt::Final(error) => return Err(error),
                Halt::Lie(why) if self.plain || lied => return Err(self.mismatch(why)),
                Halt::Lie(_) => {
                    lied = true;
                    *resumed = 0;
                    self.start_plain().await?;
                }
                Halt::Changed(opened) => {
                    *resumed = 0;
                    self.start_plain().await?;
                    first = Some(opened);
                }
                Halt::Broken(error) => {
                    let gained = self.part.plan().done().bytes().saturating_sub(before);
                    failures = if gained >= HEADWAY { 1 } else { failures + 1 };
                    let retry = &self.transfer.order.request.retry;
                    let wait = if failures <= retry.attempts && retry.allows_error(&error) {
                        retry.wait(failures - 1, None)
                    } else {
                        None
                    };
                    let Some(wait) = wait else { return Err(error) };
                    self.transfer.pause(wait, &error).await;
                    if self.plain || self.part.entity().etag.is_none() {
                        *resumed = 0;
                        self.transfer.start_over(self.part, Entity::default()).await?;
                    }
                }
            }
        }
    }

    /// Whether the file is made of more than one answer, so that it may be a mixture.
    pub(super) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// From the first byte again, on one connection and without ranges.
    pub(super) async fn start_plain(&mut self) -> Result<(), Box<Error>> {
        self.plain = true;
        *self.joined.get_mut() = false;
        self.promised.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.transfer.start_over(self.part, Entity::default()).await
    }

    /// Has connections fetch what is missing, until nothing is or one of them halts the others. A
    /// connection that breaks leaves its part to the others; the last one's failure counts.
    async fn round(&self, first: First) -> Result<(), Halt> {
        let confirmed = Notify::new();
        let order = &self.transfer.order;
        let mut most = 1;
        let mut least = order.min_part;
        let mut at_work: Vec<Work<'_>> = Vec::new();
        let mut first = first;
        loop {
            while at_work.len() < most {
                let worth = if at_work.is_empty() { 1 } else { least };
                let Some(segment) = self.part.plan().take(worth) else { break };
                let alone = most == 1;
                at_work.push(Box::pin(self.work(segment, first.take(), alone, &confirmed)));
            }
            if at_work.is_empty() {
                let complete = self.part.plan().is_complete();
                let text = "a bug in offloop, please report it: bytes are missing";
                let missing = || Halt::Final(Box::new(Error::new(Kind::Internal, text)));
                return if complete { Ok(()) } else { Err(missing()) };
            }
            match next_event(&mut at_work, &confirmed).await {
                None => {
                    let several = !self.plain && self.part.entity().etag.is_some();
                    let known = self.part.plan().total().is_some();
                    most = if several && known { order.connections.max(1) } else { 1 };
                }
                // Its connection may be kept: it can help the others with less than that.
                Some(Ok(())) => least = order.min_part / 4,
                Some(Err(Halt::Broken(_))) if !at_work.is_empty() => most = at_work.len(),
                Some(Err(halt)) => return Err(halt),
            }
        }
    }

    /// One connection: asks for `segment`, looks at the answer, brings it to the disk. One that
    /// begins `alone` is for the turn of the whole download.
    async fn work(
        &self,
        segment: Segment,
        first: First,
        alone: bool,
        confirmed: &Notify,
    ) -> Result<(), Halt> {
        let _released = Released { part: self.part, number: segment.number };
        let transfer = self.transfer;
        let known = self.part.entity();
        let whole = segment.start == 0 && segment.end.is_none_or(|it| known.total == Some(it));
        let asked = if self.plain || whole || known.etag.is_none() {
            Asked::Whole
        } else {
            let end = segment.end.filter(|end| known.total != Some(*end));
            Asked::Range { start: segment.start, end }
        };
        if asked == Asked::Whole && segment.start != 0 {
            let text =
                "a bug in offloop, please report it: a whole would go to the place of a part";
            return Err(Halt::Final(Box::new(Error::new(Kind::Internal, text))));
        }
        let opened = match first {
            Some(opened) => *opened,
            None => transfer.ask(asked, known.etag.as_deref(), alone).await.map_err(Halt::Final)?,
        };
        let end = match judge(&opened, asked, &known) {
            Answer::Whole(entity) => {
                let end = entity.total;
                self.begin(&opened.head().headers, entity).map_err(Halt::Final)?;
                end
            }
            Answer::Range { end, total } => {
                // The digest of the content is that of this part alone.
                self.take_at_its_word(&opened.head().headers, &["repr-digest"]);
                self.joined.store(true, Ordering::Relaxed);
                self.learn(total).map_err(Halt::Final)?;
                Some(end)
            }
            Answer::Nothing { total } => {
                // It may be true that nothing is missing; then a checksum has to say so.
                let certain = matches!(transfer.order.checksum, Some(Wanted::Exactly(_)));
                if certain && known.total.is_none() && total == segment.start {
                    self.learn(total).map_err(Halt::Final)?;
                    return Ok(());
                }
                return Err(Halt::Lie("it says that there is nothing where something has to be"));
            }
            Answer::Other => return Err(Halt::Changed(Box::new(opened))),
            Answer::Lie(why) => return Err(Halt::Lie(why)),
            Answer::Refusal => return Err(Halt::Final(opened.refused().await)),
        };
        transfer.meter.set(Step::Downloading);
        transfer.meter.answered(&opened);
        confirmed.notify_one();
        let flow = Flow {
            part: self.part,
            meter: &transfer.meter,
            number: segment.number,
            end,
            max_bytes: transfer.order.max_bytes,
        };
        let shown = redacted(&transfer.order.request.url);
        flow.run(opened).await.map_err(|broken| match broken {
            Broken::Wire(error) => Halt::Broken(Box::new(error.at(shown))),
            Broken::Final(error) => Halt::Final(Box::new(error.at(shown))),
            Broken::Overlong => Halt::Lie("its body is longer than it said"),
        })
    }

    /// The first bytes of an entity are about to come.
    fn begin(&self, headers: &HeaderMap, entity: Entity) -> Result<(), Box<Error>> {
        if !is_coded(headers) {
            self.take_at_its_word(headers, &["repr-digest", "content-digest"]);
        }
        let total = entity.total;
        self.part.set_entity(entity);
        total.map_or(Ok(()), |total| self.learn(total))
    }

    /// Notes the checksums of the whole that are in these fields.
    fn take_at_its_word(&self, headers: &HeaderMap, fields: &[&str]) {
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        for field in fields.iter().flat_map(|name| headers.get_all(*name)) {
            for checksum in field.to_str().map(Checksum::of_digest_field).unwrap_or_default() {
                if !promised.contains(&checksum) {
                    promised.push(checksum);
                }
            }
        }
        let algorithms: Vec<_> = promised.iter().map(Checksum::algorithm).collect();
        drop(promised);
        self.part.hash(&algorithms);
    }

    /// The length of the whole is known.
    fn learn(&self, total: u64) -> Result<(), Box<Error>> {
        if let Some(limit) = self.transfer.order.max_bytes.filter(|&limit| total > limit) {
            let shown = redacted(&self.transfer.order.request.url);
            return Err(Box::new(too_large(limit).at(shown)));
        }
        self.part.plan().set_total(total);
        let entity = self.part.entity();
        self.part.set_entity(Entity { total: Some(total), ..entity });
        self.transfer.meter.set_total(Some(total));
        Ok(())
    }

    /// Compares the checksums; gives the one that was wanted, or that the server gave.
    pub(super) async fn verify(&self) -> Result<Option<Checksum>, Box<Error>> {
        let part = Arc::clone(self.part);
        let made = on_disk(move || part.checksums()).await?;
        let find = |like: &Checksum| made.iter().find(|it| it.algorithm() == like.algorithm());
        let promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.transfer.order.checksum.as_ref();
        let exact = match wanted {
            Some(Wanted::Exactly(checksum)) => Some(checksum),
            _ => None,
        };
        for expected in exact.into_iter().chain(promised.iter()) {
            let Some(found) = find(expected) else { continue };
            if found != expected {
                let shown = redacted(&self.transfer.order.request.url);
                let text = format!("{shown} is {found} and should be {expected}");
                let mut error = Error::new(Kind::ChecksumMismatch, text).at(shown);
                let words = &mut error.details().words;
                words.push(("expected", expected.to_string()));
                words.push(("actual", found.to_string()));
                return Err(Box::new(error));
            }
        }
        let algorithm = wanted.map(Wanted::algorithm);
        let shown = algorithm.or_else(|| promised.first().map(Checksum::algorithm));
        Ok(made.into_iter().find(|it| Some(it.algorithm()) == shown))
    }

    #[expect(clippy::unnecessary_box_returns, reason = "what a bridge's operation fails with")]
    fn mismatch(&self, why: &str) -> Box<Error> {
        let shown = redacted(&self.transfer.order.request.url);
        let text = format!("{shown} cannot be downloaded: {why}");
        Box::new(Error::new(Kind::RangeMismatch, text).at(shown).during(Phase::Head))
    }
}

/// Gives a segment's rest back to the plan, however its connection ended.
struct Released<'crew> {
    part: &'crew Part,
    number: u64,
}

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.part.plan().release(self.number);
    }
}

/// What happens next: one of `at_work` has ended and is taken out, or `confirmed` was told.
async fn next_event(at_work: &mut Vec<Work<'_>>, confirmed: &Notify) -> Option<Result<(), Halt>> {
    let mut told = pin!(confirmed.notified());
    poll_fn(|context| {
        for index in 0..at_work.len() {
            let polled = at_work.get_mut(index).map(|work| work.as_mut().poll(context));
            if let Some(Poll::Ready(ended)) = polled {
                drop(at_work.swap_remove(index));
                return Poll::Ready(Some(ended));
            }
        }
        told.as_mut().poll(context).map(|()| None)
    })
    .await
}
