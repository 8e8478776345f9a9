//! A file that is seen with its old content or with its new one, and with nothing else.
//!
//! The new content is written to a file beside the target, which then takes its name. The target
//! keeps its permissions and, where the system allows it, its owner; a symbolic link stays one,
//! and what it points to is replaced. Not kept: hard links, access-control lists, extended
//! attributes. What is no regular file (a device, a pipe) cannot be replaced and is written to.

use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use super::write::{self, write_pieces};
use super::{Failure, Halt};

/// So many names are tried; each has 64 random bits.
const ATTEMPTS: usize = 16;

/// Makes `bytes` the content of `path`, at once or not at all. `durable` has it survive a loss of
/// power.
///
/// # Errors
/// What the system refuses; `Stopped` when the awaiter went before the new content took its place.
pub fn write(path: &Path, bytes: &[u8], durable: bool, halt: &Halt) -> Result<(), Failure> {
    halt.check()?;
    let Some(replacement) = Replacement::begin(path)? else {
        return write::write(path, bytes, false, durable, halt);
    };
    let _change = halt.commit()?;
    write_pieces(replacement.file(), bytes, Some(halt)).map_err(|error| error.about(path))?;
    halt.check()?;
    replacement.finish(durable)
}

/// New content for a file, not yet in its place; removed unless it is finished.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
}

impl Replacement {
    /// Prepares for new content of `path`; `None` when it is something that cannot be replaced.
    pub(crate) fn begin(path: &Path) -> Result<Option<Self>, Failure> {
        let refused = |error: io::Error| Failure::of(path, &error);
        let known = match fs::metadata(path) {
            Ok(known) if known.is_file() => Some(known),
            // Opening a directory for writing says what is wrong with that.
            Ok(known) if known.is_dir() => {
                OpenOptions::new().write(true).open(path).map_err(refused)?;
                return Ok(None);
            }
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(refused(error)),
        };
        if known.is_some() {
            // Whoever may not write to the file may not replace it.
            OpenOptions::new().write(true).open(path).map_err(refused)?;
        }
        let target =
            if path.is_symlink() { follow(path).map_err(refused)? } else { path.to_owned() };
        let (file, temporary) = create_beside(&target, known.is_none()).map_err(refused)?;
        let replacement = Self { file, temporary, target };
        if let Some(known) = known {
            keep(replacement.file(), &known).map_err(refused)?;
        }
        Ok(Some(replacement))
    }

    /// The file that is to be filled.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the new content in its place.
    pub(crate) fn finish(mut self, durable: bool) -> Result<(), Failure> {
        let refused = |error: &io::Error| Failure::of(&self.target, error);
        write::settle(self.file(), durable).map_err(|error| refused(&error))?;
        fs::rename(&self.temporary, &self.target).map_err(|error| refused(&error))?;
        // It has the target's name now: nothing is left to be removed.
        self.temporary = PathBuf::new();
        if durable && let Some(folder) = folder_of(&self.target) {
            // Where folders cannot be opened, as on Windows, the system sees to it by itself.
            if let Ok(folder) = File::open(folder) {
                folder.sync_all().map_err(|error| Failure::of(&self.target, &error))?;
            }
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Where a chain of symbolic links ends, which need not exist.
fn follow(path: &Path) -> io::Result<PathBuf> {
    if let Ok(end) = fs::canonicalize(path) {
        return Ok(end);
    }
    // Dangling: the file that `open` would make.
    let mut at = path.to_owned();
    for _ in 0..40 {
        match fs::read_link(&at) {
            Ok(next) => at = folder_of(&at).map_or(next.clone(), |folder| folder.join(&next)),
            Err(_) => return Ok(at),
        }
    }
    // What Linux says of a loop (ELOOP); `metadata` has said it before.
    Err(io::Error::from_raw_os_error(40))
}

/// The folder a path stands in; `.` for a bare name.
fn folder_of(path: &Path) -> Option<&Path> {
    let folder = path.parent()?;
    Some(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

/// A new file beside `target`. A target that is new gets the permissions that any new file gets;
/// until it has those of the old one, nobody else can read it.
fn create_beside(target: &Path, new: bool) -> io::Result<(File, PathBuf)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if !new {
        private(&mut options);
    }
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..ATTEMPTS {
        // A fresh RandomState has fresh random keys.
        let name = format!(".offloop-{:016x}.tmp", RandomState::new().hash_one(target));
        let path = target.with_file_name(name);
        match options.open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_options: &mut OpenOptions) {}

/// Gives `file` the owner and the permissions of the file it replaces.
#[cfg(unix)]
fn keep(file: &File, known: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (known.uid(), known.gid()) {
        // Only root may give files away; to others the group may be granted.
        if fchown(file, Some(known.uid()), Some(known.gid())).is_err() {
            let _ = fchown(file, None, Some(known.gid()));
        }
    }
    // After the owner: changing that takes set-user-id away.
    file.set_permissions(known.permissions())
}

#[cfg(not(unix))]
fn keep(file: &File, known: &Metadata) -> io::Result<()> {
    file.set_permissions(known.permissions())
}
