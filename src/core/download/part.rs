//! The `.part` beside a target: the only file that is written, and the journal about it.
//!
//! All of this blocks, and runs on the threads of `DISK`. What a system call fails with is what
//! the caller gets: the error number, and the path. The file is opened once, is ours and nobody
//! else's at a time (a lock of the system's, which goes with the process), and is known by device
//! and inode, so that nothing is ever done to another file that took its name.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use super::journal::{Journal, SLOT, sum};
use super::open::{Notes, exclusive, fits, names, open_locked, open_notes, read_notes};
use super::plan::{Plan, Ranges};
use super::system;
use crate::checksum::{Algorithm, Checksum, Hasher};
use crate::error::Error;
use crate::threads::Threads;

/// Threads that write, sync and hash downloads.
pub(super) static DISK: Threads = Threads::new("offloop-disk", 8);

/// Bytes read at once for a checksum; arbitrary.
const BLOCK: usize = 1024 * 1024;

/// What the bytes of a file belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entity {
    /// The strong entity tag, without which nothing can be resumed.
    pub(super) etag: Option<String>,
    /// How long the whole is.
    pub(super) total: Option<u64>,
}

/// A file in the making.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    /// Device and inode; zeros where the system has no such.
    identity: (u64, u64),
    /// SHA-256 of the URL, for the journal.
    url: String,
    /// None for a temporary file, which no other call goes on with.
    notes: Option<Mutex<Notes>>,
    /// What is done and what is not. Held for a moment, never while the disk is waited for.
    plan: Mutex<Plan>,
    entity: Mutex<Entity>,
    hashing: Mutex<Hashing>,
    /// Held shared by those who write, alone by those who start over or end: the number tells which
    /// writes still count. After `CLOSED` none does.
    epoch: RwLock<u64>,
    /// It has its name, or has been kept or removed: nothing is left to be done about it.
    settled: AtomicBool,
}

const CLOSED: u64 = u64::MAX;

/// Checksums of the file's beginning, as far as it streamed by in order.
#[derive(Default)]
struct Hashing {
    hashers: Vec<(Algorithm, Hasher)>,
    at: u64,
}

impl Part {
    /// Opens or makes the `.part` of `target`, and takes what an earlier call has left in it if
    /// `resume` is wanted and it is of the same URL.
    ///
    /// # Errors
    /// `DownloadInProgress` while another one has it, `Os` for what the system refuses.
    pub(super) fn beside(target: &Path, url: &str, resume: bool) -> Result<Self, Error> {
        let (path, notes_path) = names(target);
        let (file, found) = open_locked(&path)?;
        let metadata = file.metadata().map_err(|error| Error::os(&path, &error))?;
        let identity = system::identity(&metadata);
        let url = sum(url);
        let kept = if found && resume { read_notes(&notes_path) } else { None };
        let kept = kept.filter(|(_, journal)| fits(journal, &url, &metadata));
        let notes = open_notes(&notes_path)?;
        let part = Self {
            file,
            path,
            identity,
            url,
            notes: Some(Mutex::new(Notes {
                turn: kept.as_ref().map_or(0, |(turn, _)| *turn),
                ..notes
            })),
            plan: Mutex::default(),
            entity: Mutex::default(),
            hashing: Mutex::default(),
            epoch: RwLock::new(0),
            settled: AtomicBool::new(false),
        };
        match kept {
            Some((_, Journal { etag, total, done, .. })) => {
                *lock(&part.plan) = Plan::new(total, done);
                *lock(&part.entity) = Entity { etag, total };
            }
            None => part.start_over(&Entity::default())?,
        }
        Ok(part)
    }

    /// Makes a temporary file in `folder`, which is gone again unless it is finished.
    ///
    /// # Errors
    /// `Os`.
    pub(super) fn temporary(folder: &Path, url: &str) -> Result<Self, Error> {
        let (file, path) = loop {
            let path = folder.join(format!("offloop-{}", system::random_name()));
            match exclusive(&path) {
                Ok(file) => break (file, path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::os(&path, &error)),
            }
        };
        let metadata = file.metadata().map_err(|error| Error::os(&path, &error))?;
        Ok(Self {
            file,
            identity: system::identity(&metadata),
            path,
            url: sum(url),
            notes: None,
            plan: Mutex::default(),
            entity: Mutex::default(),
            hashing: Mutex::default(),
            epoch: RwLock::new(0),
            settled: AtomicBool::new(false),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is done and what is not.
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }

    /// What its bytes belong to.
    pub(super) fn entity(&self) -> Entity {
        lock(&self.entity).clone()
    }

    /// Notes what the bytes that are coming belong to.
    pub(super) fn set_entity(&self, entity: Entity) {
        *lock(&self.entity) = entity;
    }

    /// Which writes count: to be given to `write`.
    pub(super) fn epoch(&self) -> u64 {
        *self.epoch.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has these checksums made of what is written from now on.
    pub(super) fn hash(&self, algorithms: &[Algorithm]) {
        let mut hashing = lock(&self.hashing);
        for &algorithm in algorithms {
            if hashing.hashers.iter().all(|(it, _)| *it != algorithm) {
                // Those that are under way have seen bytes that a new one has not.
                hashing.at = 0;
                for (algorithm, hasher) in &mut hashing.hashers {
                    *hasher = Hasher::new(*algorithm);
                }
                hashing.hashers.push((algorithm, Hasher::new(algorithm)));
            }
        }
    }

    /// Writes `pieces` from `offset` on, and then notes it; nothing if `epoch` is over.
    ///
    /// # Errors
    /// `Os`, with what was written before it noted.
    pub(super) fn write(&self, epoch: u64, offset: u64, pieces: &[Bytes]) -> Result<(), Error> {
        let present = self.epoch.read().unwrap_or_else(PoisonError::into_inner);
        if *present != epoch {
            return Ok(());
        }
        let mut at = offset;
        let mut outcome = Ok(());
        for piece in pieces {
            let (written, result) = system::write_at(&self.file, piece, at);
            at += written;
            if let Err(error) = result {
                outcome = Err(Error::os(&self.path, &error));
                break;
            }
        }
        self.plan().written(offset, at);
        if outcome.is_ok() {
            let mut hashing = lock(&self.hashing);
            if hashing.at == offset {
                for piece in pieces {
                    hashing.update(piece);
                }
            }
        }
        let noted = self.note();
        outcome.and(noted)
    }

    /// Brings the journal up to date with what has been written.
    fn note(&self) -> Result<(), Error> {
        let Some(notes) = &self.notes else { return Ok(()) };
        let mut notes = lock(notes);
        // Taken under the lock of the file, so that an older state is never written last.
        let done = self.plan().done().clone();
        let Entity { etag, total } = self.entity();
        let journal = Journal {
            url: self.url.clone(),
            etag,
            total,
            file: self.identity,
            boot: system::boot().to_owned(),
            done,
        };
        notes.turn += 1;
        let place = (notes.turn % 2) * SLOT as u64;
        let (_, result) = system::write_at(&notes.file, &journal.encode(notes.turn), place);
        result.map_err(|error| Error::os(&notes.path, &error))
    }

    /// Throws all bytes away, and those that are still being written with them; the next ones
    /// are of `entity`.
    ///
    /// # Errors
    /// `Os`.
    pub(super) fn start_over(&self, entity: &Entity) -> Result<(), Error> {
        let mut epoch = self.epoch.write().unwrap_or_else(PoisonError::into_inner);
        if *epoch == CLOSED {
            return Ok(());
        }
        *epoch += 1;
        *self.plan() = Plan::new(entity.total, Ranges::default());
        self.set_entity(entity.clone());
        lock(&self.hashing).begin_again();
        // The journal first: it may say less than there is and never more. Twice, so that both
        // its slots have their place on the disk before that is full.
        self.note()?;
        self.note()?;
        self.file.set_len(0).map_err(|error| Error::os(&self.path, &error))
    }

    /// Waits for the writes that are under way and lets no other begin. The file is kept if it
    /// is `right` and another call can go on with it, and else removed.
    pub(super) fn close(&self, right: bool) {
        let mut epoch = self.epoch.write().unwrap_or_else(PoisonError::into_inner);
        *epoch = CLOSED;
        if self.settled.swap(true, Ordering::Relaxed) {
            return;
        }
        let some = self.plan().done().bytes() > 0;
        if right && some && self.notes.is_some() && self.entity().etag.is_some() {
            return;
        }
        system::remove_own(&self.path, self.identity);
        if let Some(notes) = &self.notes {
            lock(notes).remove();
        }
    }

    /// The checksums of the whole file; what did not stream by in order is read again.
    ///
    /// # Errors
    /// `Os`.
    pub(super) fn checksums(&self) -> Result<Vec<Checksum>, Error> {
        let mut hashing = lock(&self.hashing);
        if hashing.hashers.is_empty() {
            return Ok(Vec::new());
        }
        let end = self.plan().done().end();
        let mut block = vec![0; BLOCK];
        while hashing.at < end {
            let at = hashing.at;
            let got = system::read_at(&self.file, &mut block, at);
            let got = got.map_err(|error| Error::os(&self.path, &error))?;
            let Some(piece) = block.get(..got).filter(|piece| !piece.is_empty()) else {
                let text = "the file ends before what has been written to it";
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, text);
                return Err(Error::os(&self.path, &error));
            };
            hashing.update(piece);
        }
        let hashers = std::mem::take(&mut hashing.hashers);
        Ok(hashers.into_iter().map(|(_, hasher)| hasher.finish()).collect())
    }

    /// Gives the file its name: on the disk first if it is to be `durable`, then renamed.
    ///
    /// # Errors
    /// `Os`: also `FileExistsError` when there is such a file by now, unless `overwrite`.
    pub(super) fn publish(
        &self,
        target: &Path,
        overwrite: bool,
        durable: bool,
    ) -> Result<(), Error> {
        let mut epoch = self.epoch.write().unwrap_or_else(PoisonError::into_inner);
        let fail = |error: io::Error| Error::os(&self.path, &error);
        let length = self.file.metadata().map_err(fail)?.len();
        let total = self.plan().done().end();
        if length > total {
            // An earlier call has written more than it came to note.
            self.file.set_len(total).map_err(fail)?;
        }
        if self.notes.is_some() {
            system::set_usual_mode(&self.file).map_err(fail)?;
        }
        if durable {
            self.file.sync_all().map_err(fail)?;
        }
        if self.notes.is_some() {
            system::rename(&self.path, target, overwrite)
                .map_err(|error| Error::os(target, &error))?;
        }
        *epoch = CLOSED;
        self.settled.store(true, Ordering::Relaxed);
        if durable && let Some(folder) = target.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            system::sync_folder(folder).map_err(|error| Error::os(folder, &error))?;
        }
        if let Some(notes) = &self.notes {
            lock(notes).remove();
        }
        Ok(())
    }
}

impl Drop for Part {
    /// Whoever was dropped in the middle of a download leaves what can be gone on with.
    fn drop(&mut self) {
        self.close(true);
    }
}

impl Hashing {
    fn update(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.hashers {
            hasher.update(bytes);
        }
        self.at += bytes.len() as u64;
    }

    fn begin_again(&mut self) {
        self.at = 0;
        for (algorithm, hasher) in &mut self.hashers {
            *hasher = Hasher::new(*algorithm);
        }
    }
}

/// Locks; no holder can leave its data half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
