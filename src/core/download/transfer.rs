//! One download from its beginning to its end: where to, what is there already, who fetches what,
//! and what becomes of the file.
//!
//! Runs on the runtime; everything that touches the disk is sent to `DISK`. Whatever happens, the
//! `.part` is settled before the outcome is told: no write is under way any more, and the file is
//! kept if a later call can go on with it.

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};

use super::answer::{Asked, entity};
use super::crew::Crew;
use super::meter::{Meter, Step};
use super::part::{DISK, Entity, Part};
use super::{Order, Saved, Stop, Target, Wanted, names, system};
use crate::error::{Error, Figure, Kind, Phase};
use crate::fetch::{Client, Head, Opened, Request};

/// Downloads what `order` says; `None` when `stop` was asked.
///
/// # Errors
/// Those of a fetch, `Status` for a response that is no success; `ChecksumMismatch`,
/// `RangeMismatch`, `UnsafeFilename`, `DownloadInProgress`; `Os` with the path for what the system
/// refuses.
pub async fn download(
    client: Client,
    order: Order,
    meter: Arc<Meter>,
    stop: Arc<Stop>,
) -> Result<Option<Saved>, Box<Error>> {
    let began = Instant::now();
    let timeouts = Arc::clone(&order.request.timeouts);
    let part = Mutex::new(None);
    let transfer = Transfer { client, order, meter, part: &part, began };
    let race = async {
        let mut work = pin!(transfer.run());
        let mut stopped = pin!(stop.asked());
        poll_fn(|context| match stopped.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Ok(None)),
            Poll::Pending => work.as_mut().poll(context).map(|outcome| outcome.map(Some)),
        })
        .await
    };
    // Its connections are closed here, before the file is settled.
    let outcome = match timeouts.total.filter(|_| timeouts.total_is_given) {
        Some(total) => tokio::time::timeout(total, race).await.unwrap_or_else(|_| Err(late(total))),
        None => race.await,
    };
    if !matches!(outcome, Ok(Some(_))) {
        let left = part.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(left) = left {
            settle(left, outcome.as_ref().err().map(AsRef::as_ref)).await;
        }
    }
    outcome
}

/// One download under way.
pub(super) struct Transfer<'own> {
    client: Client,
    pub(super) order: Order,
    pub(super) meter: Arc<Meter>,
    /// The file, from the moment it exists: whoever runs this settles it.
    part: &'own Mutex<Option<Arc<Part>>>,
    began: Instant,
}

/// Where the file is to be.
enum Place {
    /// Here.
    File(PathBuf),
    /// In this folder, under the server's name.
    Folder(PathBuf),
    /// Nowhere in particular, in this folder.
    Temporary(PathBuf),
}

impl Transfer<'_> {
    async fn run(&self) -> Result<Saved, Box<Error>> {
        let place = self.place().await?;
        let (part, target, first) = match place {
            Place::File(target) => (self.open_part(&target).await?, target, None),
            Place::Folder(folder) => {
                let opened = self.ask(Asked::Whole, None, true).await?;
                let target = self.server_name(&folder, opened.head()).await?;
                let part = self.open_part(&target).await?;
                // What is there is of use only if it is of the same entity.
                let resumes =
                    part.plan().done().bytes() > 0 && part.entity().etag == entity(&opened).etag;
                (part, target, (!resumes).then(|| Box::new(opened)))
            }
            Place::Temporary(folder) => {
                let url = self.url();
                let part = on_disk(move || Part::temporary(&folder, &url)).await?;
                let part = self.hold(part);
                (Arc::clone(&part), part.path().to_owned(), None)
            }
        };
        if let Some(wanted) = &self.order.checksum {
            part.hash(&[wanted.algorithm()]);
        }
        if first.is_some() && part.plan().done().bytes() > 0 {
            self.start_over(&part, Entity::default()).await?;
        }
        let mut resumed = part.plan().done().bytes();
        self.meter.begin_at(resumed);
        self.meter.set_total(part.entity().total);
        let mut crew = Crew::new(self, &part);
        crew.fetch(first, &mut resumed).await?;
        self.meter.set(Step::Finishing);
        let checksum = match crew.verify().await {
            Err(error) if error.kind == Kind::ChecksumMismatch && crew.has_joined() => {
                // What was put together may not have belonged together: once more, all anew.
                resumed = 0;
                crew.start_plain().await?;
                crew.fetch(None, &mut resumed).await?;
                self.meter.set(Step::Finishing);
                crew.verify().await?
            }
            other => other?,
        };
        let bytes = part.plan().done().bytes();
        let (overwrite, durable) = (self.order.overwrite, self.order.durable);
        let (own, path) = (Arc::clone(&part), target.clone());
        on_disk(move || own.publish(&path, overwrite, durable)).await?;
        let took = self.began.elapsed();
        Ok(Saved { path: target, bytes, checksum, resumed_from: resumed, took })
    }

    /// Where the file is to be, and that nothing stands in its way.
    async fn place(&self) -> Result<Place, Box<Error>> {
        let (target, overwrite) = (self.order.target.clone(), self.order.overwrite);
        let url = Arc::clone(&self.order.request.url);
        let found = on_disk(move || {
            let (path, server_name) = match target {
                Target::Path { path, server_name } => (path, server_name),
                Target::Temporary(folder) => return Ok(Place::Temporary(folder)),
            };
            let is_folder = std::fs::metadata(&path).is_ok_and(|it| it.is_dir());
            if !is_folder && !ends_in_separator(&path) {
                return vacant(path, overwrite).map(Place::File);
            }
            if !is_folder {
                let missing = std::fs::metadata(&path).err();
                let missing = missing.unwrap_or_else(system::is_no_folder);
                return Err(Error::os(&path, &missing));
            }
            if server_name {
                return Ok(Place::Folder(path));
            }
            vacant(path.join(names::of_url(&url)?), overwrite).map(Place::File)
        });
        found.await
    }

    /// The name in `folder` that the server gives, or else the URL.
    async fn server_name(&self, folder: &Path, head: &Head) -> Result<PathBuf, Box<Error>> {
        let name = match names::of_headers(&head.headers) {
            Some(name) => name,
            None => names::of_url(&self.order.request.url)?,
        };
        let (path, overwrite) = (folder.join(name), self.order.overwrite);
        on_disk(move || vacant(path, overwrite)).await
    }

    async fn open_part(&self, target: &Path) -> Result<Arc<Part>, Box<Error>> {
        let (target, url, resume) = (target.to_owned(), self.url(), self.order.resume);
        let part = on_disk(move || Part::beside(&target, &url, resume)).await?;
        Ok(self.hold(part))
    }

    fn hold(&self, part: Part) -> Arc<Part> {
        let part = Arc::new(part);
        *self.part.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&part));
        part
    }

    fn url(&self) -> String {
        self.order.request.url.as_str().to_owned()
    }

    /// Sends the request, for everything or for a range of the entity with `etag`. One that is
    /// `alone` gives the place of the download up while it waits to be tried again.
    pub(super) async fn ask(
        &self,
        asked: Asked,
        etag: Option<&str>,
        alone: bool,
    ) -> Result<Opened, Box<Error>> {
        let mut request = Request { max_body: None, ..self.order.request.clone() };
        let headers = Arc::make_mut(&mut request.headers);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(IF_RANGE);
        headers.remove(RANGE);
        if let (Asked::Range { start, end }, Some(etag)) = (asked, etag) {
            let range = match end {
                Some(end) => format!("bytes={start}-{}", end.saturating_sub(1)),
                None => format!("bytes={start}-"),
            };
            for (name, value) in [(RANGE, range.as_str()), (IF_RANGE, etag)] {
                let value = HeaderValue::from_str(value);
                // Digits, and a tag whose characters were looked at: this cannot fail.
                headers.insert(name, value.map_err(|_| Error::new(Kind::InvalidHeader, "etag"))?);
            }
        }
        match self.order.turn.as_ref().filter(|_| alone) {
            Some(turn) => turn.begin(self.client.clone(), request).await,
            None => self.client.clone().begin(request).await,
        }
    }

    /// Waits before it goes on after a failure, with no connection at work.
    pub(super) async fn pause(&self, time: Duration, error: &Error) {
        match &self.order.turn {
            Some(turn) => turn.sit_out(time, error).await,
            None => tokio::time::sleep(time).await,
        }
    }

    pub(super) async fn start_over(
        &self,
        part: &Arc<Part>,
        entity: Entity,
    ) -> Result<(), Box<Error>> {
        self.meter.begin_at(0);
        self.meter.set_total(entity.total);
        let part = Arc::clone(part);
        on_disk(move || part.start_over(&entity)).await
    }
}

impl Wanted {
    pub(super) fn algorithm(&self) -> crate::checksum::Algorithm {
        match self {
            Self::Told(algorithm) => *algorithm,
            Self::Exactly(checksum) => checksum.algorithm(),
        }
    }
}

/// Ends a download that gave no file: its part is kept if another call can go on with it.
async fn settle(part: Arc<Part>, error: Option<&Error>) {
    let wrong = error.is_some_and(|error| {
        matches!(error.kind, Kind::ChecksumMismatch | Kind::RangeMismatch | Kind::BodyTooLarge)
    });
    // If there is no thread for it, the last owner of the part does it.
    let _ = DISK.run(move || part.close(!wrong)).await;
}

/// Runs `work` on a thread for the disk.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Box<Error>> {
    Ok(DISK.run(work).await??)
}

/// `path`, unless something is there.
fn vacant(path: PathBuf, overwrite: bool) -> Result<PathBuf, Error> {
    match std::fs::symlink_metadata(&path) {
        Ok(there) if there.is_dir() => Err(Error::os(&path, &system::is_a_folder())),
        Ok(_) if !overwrite => Err(Error::os(&path, &system::exists())),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::os(&path, &error)),
        _ => Ok(path),
    }
}

fn ends_in_separator(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_some_and(|&it| std::path::is_separator(it.into()))
}

#[expect(clippy::unnecessary_box_returns, reason = "what a bridge's operation fails with")]
fn late(total: Duration) -> Box<Error> {
    let seconds = total.as_secs_f64();
    let text = format!("the download took longer than {seconds} s in total");
    let error = Error::new(Kind::TotalTimeout, text).during(Phase::Body);
    Box::new(error.with("seconds", Figure::Seconds(seconds)))
}
