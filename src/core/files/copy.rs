//! A copy of a file: its bytes and its permissions, and nothing of it until all of it stands.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::atomic::Replacement;
use super::{Failure, Halt};

/// How much is copied between two looks at the halt; within the kernel, where it can.
const PIECE: u64 = 16 * 1024 * 1024;

/// Copies `source` to `target`, or into it if it is a folder; gives where the copy stands.
///
/// # Errors
/// What the system refuses, `SameFile`; `Stopped` when the awaiter went before it was complete.
pub fn copy(source: &Path, target: &Path, durable: bool, halt: &Halt) -> Result<PathBuf, Failure> {
    halt.check()?;
    let mut target = target.to_owned();
    if target.is_dir()
        && let Some(name) = source.file_name()
    {
        target.push(name);
    }
    let from_source = |error: io::Error| Failure::of(source, &error);
    let known = fs::metadata(source).map_err(from_source)?;
    if fs::metadata(&target).is_ok_and(|other| is_same(source, &known, &target, &other)) {
        return Err(Failure::SameFile { source: source.to_owned(), target });
    }
    let file = File::open(source).map_err(from_source)?;
    if known.is_dir() {
        // Reading says what is wrong with that.
        (&file).read(&mut [0]).map_err(from_source)?;
    }
    let to_target = |error: io::Error| Failure::of(&target, &error);
    // Which of the two it was, nobody knows where the kernel copies: both are named, as shutil has it.
    let refused = |error: io::Error| Failure::of_both(source, &target, &error);
    let Some(replacement) = Replacement::begin(&target)? else {
        let device = fs::OpenOptions::new().write(true).open(&target).map_err(to_target)?;
        move_bytes(&file, &device, halt, refused)?;
        return Ok(target);
    };
    let _change = halt.commit()?;
    move_bytes(&file, replacement.file(), halt, refused)?;
    replacement.file().set_permissions(known.permissions()).map_err(to_target)?;
    halt.check()?;
    replacement.finish(durable)?;
    Ok(target)
}

/// Copies to the end of `from`; where it stands is kept by the files, also after an error.
fn move_bytes(
    from: &File,
    mut to: &File,
    halt: &Halt,
    refused: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    loop {
        halt.check()?;
        match io::copy(&mut from.take(PIECE), &mut to) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // What was copied before the signal came has moved both files on.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(refused(error)),
        }
    }
}

#[cfg(unix)]
fn is_same(_: &Path, known: &fs::Metadata, _: &Path, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (known.dev(), known.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(source: &Path, _: &fs::Metadata, target: &Path, _: &fs::Metadata) -> bool {
    matches!((fs::canonicalize(source), fs::canonicalize(target)), (Ok(one), Ok(two)) if one == two)
}
