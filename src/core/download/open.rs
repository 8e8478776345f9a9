//! Opening the `.part` of a target and its journal: making them, or finding those of an earlier call.
//!
//! Blocks, and runs on the threads of `DISK`. No link is followed, and what is no regular file of
//! ours is refused.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::journal::{Journal, SLOT, sum};
use super::system;
use crate::error::{Error, Kind};

/// How often, and how far apart, a lock is tried: a download that was dropped may still be
/// ending its last write.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The journal's file.
pub(super) struct Notes {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// Counts the entries that were written.
    pub(super) turn: u64,
}

impl Notes {
    /// Removes it, unless another file has its name by now.
    pub(super) fn remove(&self) {
        system::remove_own(&self.path, self.identity);
    }
}

/// Where the part and the journal of `target` are: beside it, so that a rename stays within one
/// file system. A name that leaves no room for endings is shortened, and told apart by its sum.
pub(super) fn names(target: &Path) -> (PathBuf, PathBuf) {
    const PART: &str = ".part";
    const JOURNAL: &str = ".part.journal";
    let name = target.file_name().unwrap_or_default().to_owned();
    let stem = if name.len() + JOURNAL.len() <= 255 {
        name
    } else {
        let text = name.to_string_lossy();
        let mut end = text.len().min(200);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let start = text.get(..end).unwrap_or_default();
        let sum = sum(&text);
        format!("{start}-{}", sum.get(..16).unwrap_or_default()).into()
    };
    let with = |ending: &str| {
        let mut name = stem.clone();
        name.push(ending);
        target.with_file_name(name)
    };
    (with(PART), with(JOURNAL))
}

/// Opens or makes the part at `path` and locks it; true if it was there already.
pub(super) fn open_locked(path: &Path) -> Result<(File, bool), Error> {
    let fail = |error: &io::Error| Error::os(path, error);
    let mut tries = 0;
    loop {
        let (file, found) = match exclusive(path) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match system::existing().open(path) {
                    Ok(file) => (file, true),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(fail(&error)),
                }
            }
            Err(error) => return Err(fail(&error)),
        };
        let metadata = file.metadata().map_err(|error| fail(&error))?;
        if !system::is_own(&metadata) {
            return Err(fail(&system::exists()));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
                continue;
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let text = format!("another download writes to {}", path.display());
                let mut error = Error::new(Kind::DownloadInProgress, text);
                error.details().path = Some(path.to_owned());
                return Err(error);
            }
            Err(std::fs::TryLockError::Error(error)) if system::has_no_locks(&error) => {}
            Err(std::fs::TryLockError::Error(error)) => return Err(fail(&error)),
        }
        // Whoever had the lock may have renamed or removed the file meanwhile.
        match std::fs::symlink_metadata(path) {
            Ok(present) if system::identity(&present) == system::identity(&metadata) => {
                return Ok((file, found));
            }
            _ => {}
        }
    }
}

/// A new file that only its owner can read.
pub(super) fn exclusive(path: &Path) -> io::Result<File> {
    system::private().create_new(true).open(path)
}

/// The newest intact entry of a journal, if there is one that is ours.
pub(super) fn read_notes(path: &Path) -> Option<(u64, Journal)> {
    let file = system::existing().open(path).ok()?;
    if !system::is_own(&file.metadata().ok()?) {
        return None;
    }
    let mut bytes = vec![0; 2 * SLOT];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match system::read_at(&file, rest, length as u64).ok()? {
            0 => break,
            got => length += got,
        }
    }
    Journal::decode(bytes.get(..length)?)
}

/// Opens the journal for writing, or makes it.
pub(super) fn open_notes(path: &Path) -> Result<Notes, Error> {
    let fail = |error: &io::Error| Error::os(path, error);
    loop {
        let file = match exclusive(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match system::existing().open(path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(fail(&error)),
                }
            }
            Err(error) => return Err(fail(&error)),
        };
        let metadata = file.metadata().map_err(|error| fail(&error))?;
        if !system::is_own(&metadata) {
            return Err(fail(&system::exists()));
        }
        let identity = system::identity(&metadata);
        return Ok(Notes { file, path: path.to_owned(), identity, turn: 0 });
    }
}

/// Whether a journal speaks of this file and URL, and of bytes that have to be there.
pub(super) fn fits(journal: &Journal, url: &str, part: &Metadata) -> bool {
    journal.url == url
        && journal.etag.is_some()
        && journal.file == system::identity(part)
        && journal.boot == system::boot()
        && journal.done.end() <= part.len()
}
