//! A folder that takes the bodies of many requests, each as a file of its own.
//!
//! A file is named after the last segment of the URL asked for. If there is such a file, a hash of
//! the whole URL is added: `item` and `item-0123456789abcdef` for `item?a` and `item?b`. If there
//! is that one, too, it is of the same URL, and stays as it is. A file appears by a rename when it
//! is whole; until then it has a name that nobody guesses. The system is called on `DISK`'s threads.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use url::Url;

use super::part::DISK;
use super::{names, system};
use crate::error::Error;
use crate::fetch::{Keeper, Kept, Sink, Step};

/// Bytes that are worth a trip to a thread; most bodies are smaller and take one.
const BATCH: usize = 128 * 1024;

/// Takes bodies into files.
#[derive(Debug)]
pub struct Folder {
    path: Arc<Path>,
    max_body: Option<u64>,
}

impl Folder {
    /// Takes bodies of up to `max_body` bytes into `path`, which has to exist.
    #[must_use]
    pub fn new(path: &Path, max_body: Option<u64>) -> Self {
        Self { path: Arc::from(path), max_body }
    }
}

impl Keeper for Folder {
    fn begin(&self, url: &Url) -> Result<Box<dyn Sink>, Error> {
        let name = names::of_url(url)?;
        let hash = digest(&SHA256, url.as_str().as_bytes());
        let short = hash.as_ref().first_chunk().copied().unwrap_or_default();
        let hash = format!("{:016x}", u64::from_be_bytes(short));
        Ok(Box::new(Saving {
            folder: Arc::clone(&self.path),
            name,
            hash,
            pieces: Vec::new(),
            waiting: 0,
            written: 0,
            draft: None,
        }))
    }

    fn max_body(&self) -> Option<u64> {
        self.max_body
    }
}

/// One body on its way into a file.
struct Saving {
    folder: Arc<Path>,
    name: String,
    /// Of the URL.
    hash: String,
    pieces: Vec<Bytes>,
    /// Bytes of `pieces`.
    waiting: usize,
    written: u64,
    draft: Option<Draft>,
}

/// A file that is not whole; removed when it is dropped.
struct Draft {
    file: File,
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for Draft {
    fn drop(&mut self) {
        system::remove_own(&self.path, self.identity);
    }
}

impl Sink for Saving {
    fn write(&mut self, piece: Bytes) -> Step<'_, ()> {
        self.waiting += piece.len();
        self.pieces.push(piece);
        if self.waiting < BATCH {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            let (folder, draft) = (Arc::clone(&self.folder), self.draft.take());
            let pieces = std::mem::take(&mut self.pieces);
            self.written += std::mem::take(&mut self.waiting) as u64;
            self.draft = Some(DISK.run(move || append(&folder, draft, &pieces)).await??);
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Step<'static, Kept> {
        Box::pin(async move {
            let Self { folder, name, hash, pieces, waiting, written, draft } = *self;
            let bytes = written + waiting as u64;
            let path = DISK.run(move || {
                let draft = append(&folder, draft, &pieces)?;
                publish(&draft, &folder, &name, &hash)
            });
            Ok(Kept { path: path.await??, bytes })
        })
    }
}

fn append(folder: &Path, draft: Option<Draft>, pieces: &[Bytes]) -> Result<Draft, Error> {
    let draft = match draft {
        Some(draft) => draft,
        None => create(folder)?,
    };
    for piece in pieces {
        (&draft.file).write_all(piece).map_err(|error| Error::os(&draft.path, &error))?;
    }
    Ok(draft)
}

fn create(folder: &Path) -> Result<Draft, Error> {
    let path = folder.join(format!(".offloop-{}", system::random_name()));
    let fail = |error: io::Error| Error::os(&path, &error);
    let file = system::private().create_new(true).open(&path).map_err(fail)?;
    let identity = system::identity(&file.metadata().map_err(fail)?);
    Ok(Draft { file, path, identity })
}

/// Gives the file its name: the plain one, or that with the hash.
fn publish(draft: &Draft, folder: &Path, name: &str, hash: &str) -> Result<PathBuf, Error> {
    system::set_usual_mode(&draft.file).map_err(|error| Error::os(&draft.path, &error))?;
    let plain = folder.join(name);
    match system::rename(&draft.path, &plain, false) {
        Ok(()) => return Ok(plain),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::os(&plain, &error)),
    }
    let other = folder.join(names::with_suffix(name, hash));
    system::rename(&draft.path, &other, false).map_err(|error| Error::os(&other, &error))?;
    Ok(other)
}
