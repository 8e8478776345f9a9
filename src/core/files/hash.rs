//! The checksum of a file, without having it in memory.

use std::fs::File;
use std::path::Path;

use super::read::system;
use super::{Failure, Halt};
use crate::checksum::{Algorithm, Checksum, Hasher};

/// How much is read at once. Measured: more is no faster, since it no longer fits the cache.
const PIECE: usize = 256 * 1024;

/// Reads `path` and gives the checksum of it.
///
/// # Errors
/// What the system refuses, `Stopped`.
pub fn hash(path: &Path, algorithm: Algorithm, halt: &Halt) -> Result<Checksum, Failure> {
    halt.check()?;
    let file = File::open(path).map_err(|error| Failure::of(path, &error))?;
    let mut hasher = Hasher::new(algorithm);
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        let read = system::read_more(&file, &mut piece);
        if read.map_err(|error| Failure::of(path, &error))? == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&piece);
        halt.check()?;
    }
}
