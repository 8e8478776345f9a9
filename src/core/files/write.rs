//! A whole file from bytes, in place: what was there is gone before the new bytes stand.
//! `atomic` does it in a way that never shows anything between.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::{Failure, Halt};

/// How much is written between two looks at the halt.
const PIECE: usize = 4 * 1024 * 1024;

/// Makes `bytes` the content of `path`, or appends them.
///
/// Once the file is being changed it is changed to the end, also for an awaiter who has gone; but
/// a pipe or a device is left between two pieces.
///
/// # Errors
/// What the system refuses; `Stopped` before the first change.
pub fn write(
    path: &Path,
    bytes: &[u8],
    append: bool,
    durable: bool,
    halt: &Halt,
) -> Result<(), Failure> {
    halt.check()?;
    let refused = |error: io::Error| Failure::of(path, &error);
    let mut options = OpenOptions::new();
    // Not truncated by `open`: it may wait for long, and the awaiter may have gone meanwhile.
    let file = options.write(true).append(append).create(true).truncate(false).open(path);
    let file = file.map_err(refused)?;
    let regular = file.metadata().map_err(refused)?.is_file();
    if !regular {
        return write_pieces(&file, bytes, Some(halt)).map_err(|error| error.about(path));
    }
    let _change = halt.commit()?;
    if !append {
        file.set_len(0).map_err(refused)?;
    }
    write_pieces(&file, bytes, None).map_err(|error| error.about(path))?;
    settle(&file, durable).map_err(refused)
}

/// Has the system say what it has to say of the bytes written, before the file is closed.
///
/// `durable` waits for the disk. Else there is nothing to be said but by file systems that may
/// write when a file is closed, over a network or by another process: std would not hear of an
/// error then, so these are flushed, as closing would do. A refusal is final: the kernel may have
/// thrown the bytes away.
pub(crate) fn settle(file: &File, durable: bool) -> io::Result<()> {
    if durable || system::writes_when_closed(file) { file.sync_all() } else { Ok(()) }
}

mod system {
    use std::fs::File;

    /// NFS, SMB and CIFS, FUSE, 9p, Ceph, AFS and kAFS, Lustre, NCP: their numbers in statfs(2).
    #[cfg(target_os = "linux")]
    const REMOTE: [rustix::fs::FsWord; 10] = [
        0x6969,
        0x517B,
        0xFE53_4D42,
        0xFF53_4D42,
        0x6573_5546,
        0x0102_1997,
        0x00C3_6400,
        0x5346_414F,
        0x0BD0_0BD0,
        0x564C,
    ];

    #[cfg(target_os = "linux")]
    pub(super) fn writes_when_closed(file: &File) -> bool {
        rustix::fs::fstatfs(file).is_ok_and(|known| REMOTE.contains(&known.f_type))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn writes_when_closed(_file: &File) -> bool {
        false
    }
}

/// Why not everything was written.
pub(crate) enum Unwritten {
    Refused(io::Error),
    Stopped,
}

impl Unwritten {
    pub(crate) fn about(self, path: &Path) -> Failure {
        match self {
            Self::Refused(error) => Failure::of(path, &error),
            Self::Stopped => Failure::Stopped,
        }
    }
}

/// Writes all of `bytes`, however little the system takes at once; looks at `halt` in between.
pub(crate) fn write_pieces(
    mut file: &File,
    bytes: &[u8],
    halt: Option<&Halt>,
) -> Result<(), Unwritten> {
    for piece in bytes.chunks(PIECE) {
        if let Some(halt) = halt {
            halt.check().map_err(|_| Unwritten::Stopped)?;
        }
        file.write_all(piece).map_err(Unwritten::Refused)?;
    }
    Ok(())
}
