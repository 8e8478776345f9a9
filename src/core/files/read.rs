//! A whole file as bytes. Small ones are read into memory of Rust's; for a large one the glue
//! finds room first, and the bytes go from the kernel to where they stay.

use std::fs::File;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use super::{Failure, Halt};

/// How much is read between two looks at the halt, and at once from what does not tell its size.
const PIECE: usize = 4 * 1024 * 1024;
/// The first room for what does not tell its size: procfs, pipes. As `open` has it.
const UNKNOWN: usize = 8 * 1024;

/// What has become of a read.
#[derive(Debug)]
pub enum Read {
    /// All of it.
    Whole(Vec<u8>),
    /// There is more than the caller wants to have in memory of Rust's.
    Large(Large),
}

/// A large file, open, and not read yet.
#[derive(Debug)]
pub struct Large {
    file: File,
    path: PathBuf,
    /// What the system says; the file may have changed by the time it is read.
    pub size: usize,
}

/// What was read of a large file.
#[derive(Debug)]
pub struct Filled {
    /// So many bytes of the room are written.
    pub length: usize,
    /// What the file had beyond the room.
    pub rest: Vec<u8>,
}

/// Reads `path`, unless it has more than `limit` bytes.
///
/// # Errors
/// What the system refuses, `Memory`, `Stopped`.
pub fn read(path: &Path, limit: usize, halt: &Halt) -> Result<Read, Failure> {
    halt.check()?;
    let file = File::open(path).map_err(|error| Failure::of(path, &error))?;
    let size = file.metadata().map_err(|error| Failure::of(path, &error))?.len();
    let size = usize::try_from(size).map_err(|_| Failure::Memory)?;
    if size > limit {
        return Ok(Read::Large(Large { file, path: path.to_owned(), size }));
    }
    // One more than there should be: room for the read that finds the end.
    let room = if size == 0 { UNKNOWN } else { size + 1 };
    read_on(&file, path, room, halt).map(Read::Whole)
}

impl Large {
    /// Reads into `room`, which has `size` bytes, and what there is beyond.
    ///
    /// # Errors
    /// As `read`.
    pub fn fill(self, room: &mut [MaybeUninit<u8>], halt: &Halt) -> Result<Filled, Failure> {
        let mut length = 0;
        while length < room.len() {
            halt.check()?;
            let (_, left) = room.split_at_mut(length);
            let wanted = left.len().min(PIECE);
            let (piece, _) = left.split_at_mut(wanted);
            let read = system::read(&self.file, piece);
            let read = read.map_err(|error| Failure::of(&self.path, &error))?;
            if read == 0 {
                return Ok(Filled { length, rest: Vec::new() });
            }
            length += read;
        }
        let rest = read_on(&self.file, &self.path, 32, halt)?;
        Ok(Filled { length, rest })
    }
}

/// Reads to the end, into room that begins with `room` bytes and grows.
fn read_on(file: &File, path: &Path, room: usize, halt: &Halt) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(room).map_err(|_| Failure::Memory)?;
    loop {
        if bytes.len() == bytes.capacity() {
            // Doubled, as Vec does by itself, but a refusal is an error and no abort.
            bytes.try_reserve(PIECE.min(bytes.len())).map_err(|_| Failure::Memory)?;
        }
        let read = system::read_more(file, &mut bytes);
        if read.map_err(|error| Failure::of(path, &error))? == 0 {
            return Ok(bytes);
        }
        halt.check()?;
    }
}

/// Reads into memory that has no content yet.
#[cfg(unix)]
pub(crate) mod system {
    use std::fs::File;
    use std::io;
    use std::mem::MaybeUninit;

    use rustix::buffer::spare_capacity;
    use rustix::io::{Errno, read as read_once};

    pub(crate) fn read(file: &File, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        loop {
            match read_once(file, &mut *room) {
                Ok((written, _)) => return Ok(written.len()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends one read to `bytes`, which has room.
    pub(crate) fn read_more(file: &File, bytes: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            match read_once(file, spare_capacity(bytes)) {
                Ok(read) => return Ok(read),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The same without system calls of Unix: std reads into memory that has content. Untested: no
/// such machine was at hand.
#[cfg(not(unix))]
pub(crate) mod system {
    use std::fs::File;
    use std::io::{self, Read};
    use std::mem::MaybeUninit;

    const PIECE: usize = 64 * 1024;

    pub(crate) fn read(mut file: &File, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let mut piece = Vec::new();
        let read = file.take(room.len().min(PIECE) as u64).read_to_end(&mut piece)?;
        for (to, byte) in room.iter_mut().zip(piece) {
            to.write(byte);
        }
        Ok(read)
    }

    pub(crate) fn read_more(file: &File, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let wanted = (bytes.capacity() - bytes.len()).min(PIECE) as u64;
        file.take(wanted).read_to_end(bytes)
    }
}
