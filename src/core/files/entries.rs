//! The entries of one folder as the system lists them: names, and what they are.
//!
//! On Linux a whole buffer of names comes with each system call, and a signal in its middle costs
//! nothing; elsewhere std's listing is used.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// What an entry of a folder is, as the listing says: nothing is looked up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link, wherever it leads.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// An entry as it is handed out.
pub(super) struct Entry<'a> {
    pub(super) name: &'a OsStr,
    pub(super) kind: Kind,
    folder: &'a system::Folder,
}

impl Entry<'_> {
    /// Whether this, a symbolic link, leads to a folder.
    pub(super) fn leads_to_folder(&self) -> bool {
        system::leads_to_folder(self.folder, self.name)
    }
}

/// Room for what one call to the system brings; kept from folder to folder.
#[derive(Debug, Default)]
pub(super) struct Room(Vec<u8>);

/// A listing in progress.
#[derive(Debug)]
pub(super) struct Reader(system::Reader);

impl Reader {
    /// Opens the folder `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        system::Reader::open(path).map(Self)
    }

    /// Hands out `limit` entries, or some more; false when these are the last ones.
    pub(super) fn read(
        &mut self,
        limit: usize,
        room: &mut Room,
        mut give: impl FnMut(&Entry<'_>),
    ) -> io::Result<bool> {
        self.0.read(limit, &mut room.0, &mut give)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::OsStr;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat};
    use rustix::io::{Errno, retry_on_intr};

    use super::{Entry, Kind};

    /// Room for the names of one call: as much as the C library has.
    const ROOM: usize = 32 * 1024;

    pub(super) type Folder = OwnedFd;

    #[derive(Debug)]
    pub(super) struct Reader(Folder);

    impl Reader {
        pub(super) fn open(path: &Path) -> io::Result<Self> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(Self(retry_on_intr(|| openat(CWD, path, flags, Mode::empty()))?))
        }

        pub(super) fn read(
            &mut self,
            limit: usize,
            room: &mut Vec<u8>,
            give: &mut dyn FnMut(&Entry<'_>),
        ) -> io::Result<bool> {
            room.reserve(ROOM);
            let mut entries = RawDir::new(&self.0, room.spare_capacity_mut());
            let mut given = 0;
            // What is in the room has been read, and is lost if it is not given.
            while given < limit || !entries.is_buffer_empty() {
                let entry = match entries.next() {
                    None => return Ok(false),
                    Some(Err(Errno::INTR)) => continue,
                    Some(entry) => entry?,
                };
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                let mut kind = entry.file_type();
                if kind == FileType::Unknown
                    && let Ok(known) = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)
                {
                    kind = FileType::from_raw_mode(known.st_mode);
                }
                given += 1;
                let name = OsStr::from_bytes(name.to_bytes());
                give(&Entry { name, kind: named(kind), folder: &self.0 });
            }
            Ok(true)
        }
    }

    pub(super) fn leads_to_folder(folder: &Folder, name: &OsStr) -> bool {
        statat(folder, name, AtFlags::empty())
            .is_ok_and(|known| FileType::from_raw_mode(known.st_mode) == FileType::Directory)
    }

    fn named(kind: FileType) -> Kind {
        match kind {
            FileType::Directory => Kind::Folder,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        }
    }
}

/// The same by std. Untested: no such machine was at hand.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::ffi::OsStr;
    use std::fs::{self, ReadDir};
    use std::io;
    use std::path::{Path, PathBuf};

    use super::{Entry, Kind};

    pub(super) type Folder = PathBuf;

    #[derive(Debug)]
    pub(super) struct Reader(ReadDir, Folder);

    impl Reader {
        pub(super) fn open(path: &Path) -> io::Result<Self> {
            Ok(Self(fs::read_dir(path)?, path.to_owned()))
        }

        pub(super) fn read(
            &mut self,
            limit: usize,
            _room: &mut Vec<u8>,
            give: &mut dyn FnMut(&Entry<'_>),
        ) -> io::Result<bool> {
            for _ in 0..limit {
                let Some(entry) = self.0.next() else { return Ok(false) };
                let entry = entry?;
                let kind = match entry.file_type() {
                    Ok(kind) if kind.is_dir() => Kind::Folder,
                    Ok(kind) if kind.is_file() => Kind::File,
                    Ok(kind) if kind.is_symlink() => Kind::Link,
                    Ok(_) | Err(_) => Kind::Other,
                };
                give(&Entry { name: &entry.file_name(), kind, folder: &self.1 });
            }
            Ok(true)
        }
    }

    pub(super) fn leads_to_folder(folder: &Folder, name: &OsStr) -> bool {
        folder.join(name).is_dir()
    }
}
