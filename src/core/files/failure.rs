//! Why an operation on files failed, as data: the glue makes of it what `open` would have raised.

use std::io;
use std::path::{Path, PathBuf};

/// Any failure of an operation on files.
#[derive(Debug)]
pub enum Failure {
    /// The system refused: its error number, and the paths it is about.
    System {
        /// As in `errno.h`.
        errno: i32,
        /// The path that was used.
        path: PathBuf,
        /// The second path, of an operation on two.
        other: Option<PathBuf>,
    },
    /// There is no memory for the result.
    Memory,
    /// Both paths of a copy are the same file.
    SameFile {
        /// Where from.
        source: PathBuf,
        /// Where to.
        target: PathBuf,
    },
    /// Nobody waits any more, and the operation has left things as they were.
    Stopped,
}

/// What POSIX calls an error of the hardware; for the few errors of std that have no number.
const EIO: i32 = 5;
/// No memory: the kernel's, which Python shows as an `OSError`.
const ENOMEM: i32 = 12;
/// What is not a directory.
pub(crate) const ENOTDIR: i32 = 20;

impl Failure {
    /// The system's refusal of something done to `path`.
    #[must_use]
    pub fn of(path: &Path, error: &io::Error) -> Self {
        let errno = match (error.raw_os_error(), error.kind()) {
            (Some(errno), _) => errno,
            (None, io::ErrorKind::OutOfMemory) => ENOMEM,
            (None, _) => EIO,
        };
        Self::with_errno(path, errno)
    }

    /// The system's refusal of something done with two paths.
    #[must_use]
    pub fn of_both(path: &Path, other: &Path, error: &io::Error) -> Self {
        match Self::of(path, error) {
            Self::System { errno, path, .. } => {
                Self::System { errno, path, other: Some(other.to_owned()) }
            }
            failure => failure,
        }
    }

    /// The same, where the number is known.
    #[must_use]
    pub fn with_errno(path: &Path, errno: i32) -> Self {
        Self::System { errno, path: path.to_owned(), other: None }
    }
}
