//! A folder with all that is in it, removed.
//!
//! On Unix it goes down by descriptors and follows no symbolic link, also not one that somebody
//! puts in the place of a folder meanwhile (CVE-2022-21658). No recursion: as deep as there are
//! descriptors.

use std::path::Path;

use super::{Failure, Halt};

/// Removes the folder `path` and everything in it.
///
/// # Errors
/// What the system refuses, with the path of the entry; a symbolic link or a file is refused as
/// not a folder. `Stopped` leaves what has not been removed yet.
#[cfg(unix)]
pub fn remove(path: &Path, halt: &Halt) -> Result<(), Failure> {
    use std::ffi::{CString, OsStr};
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;

    use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, unlinkat};
    use rustix::io::{Errno, retry_on_intr};

    /// A folder on the way down: its descriptor, name, path, and the folders in it still to go.
    struct Level {
        folder: OwnedFd,
        name: CString,
        path: std::path::PathBuf,
        waiting: Vec<CString>,
    }

    const FOLDER: OFlags =
        OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

    let refused = |path: &Path, error: Errno| Failure::of(path, &error.into());
    // Removes the entries of a folder that are no folders, and gives those that are.
    let clear = |folder: &OwnedFd, path: &Path| -> Result<Vec<CString>, Failure> {
        let mut waiting = Vec::new();
        let mut entries =
            retry_on_intr(|| Dir::read_from(folder)).map_err(|error| refused(path, error))?;
        while let Some(entry) = entries.next() {
            if matches!(entry, Err(Errno::INTR)) {
                // From the beginning: what has been removed is not met again, and a folder that
                // waits twice is found to be gone.
                entries.rewind();
                continue;
            }
            let entry = entry.map_err(|error| refused(path, error))?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            let mut is_folder = entry.file_type() == FileType::Directory;
            if !is_folder {
                match retry_on_intr(|| unlinkat(folder, name, AtFlags::empty())) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    // What the listing left open is a folder after all; Linux and POSIX differ.
                    Err(Errno::ISDIR | Errno::PERM) if entry.file_type() == FileType::Unknown => {
                        is_folder = true;
                    }
                    Err(error) => {
                        return Err(refused(&path.join(OsStr::from_bytes(name.to_bytes())), error));
                    }
                }
            }
            if is_folder {
                waiting.push(name.to_owned());
            }
        }
        Ok(waiting)
    };
    halt.check()?;
    let opened = retry_on_intr(|| openat(CWD, path, FOLDER, Mode::empty()));
    let folder = opened.map_err(|error| match error {
        // A symbolic link: Linux says ELOOP or ENOTDIR.
        Errno::LOOP => Failure::with_errno(path, super::failure::ENOTDIR),
        error => refused(path, error),
    })?;
    let _change = halt.commit()?;
    let waiting = clear(&folder, path)?;
    let mut levels =
        vec![Level { folder, name: CString::default(), path: path.to_owned(), waiting }];
    while let Some(level) = levels.last_mut() {
        halt.check()?;
        if let Some(name) = level.waiting.pop() {
            let path = level.path.join(OsStr::from_bytes(name.to_bytes()));
            let open = || openat(&level.folder, name.as_c_str(), FOLDER, Mode::empty());
            let folder = match retry_on_intr(open) {
                Err(Errno::NOENT) => continue,
                opened => opened.map_err(|error| refused(&path, error))?,
            };
            let waiting = clear(&folder, &path)?;
            levels.push(Level { folder, name, path, waiting });
            continue;
        }
        let Some(empty) = levels.pop() else { break };
        let removed = match levels.last() {
            Some(above) => {
                retry_on_intr(|| unlinkat(&above.folder, empty.name.as_c_str(), AtFlags::REMOVEDIR))
            }
            None => retry_on_intr(|| unlinkat(CWD, path, AtFlags::REMOVEDIR)),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(refused(&empty.path, error)),
        }
    }
    Ok(())
}

/// Removes the folder `path` and everything in it, by std. Untested: no such machine was at hand.
///
/// # Errors
/// What the system refuses.
#[cfg(not(unix))]
pub fn remove(path: &Path, halt: &Halt) -> Result<(), Failure> {
    halt.check()?;
    if path.is_symlink() {
        return Err(Failure::with_errno(path, super::failure::ENOTDIR));
    }
    let _change = halt.commit()?;
    std::fs::remove_dir_all(path).map_err(|error| Failure::of(path, &error))
}
