//! A small file that the kernel has in memory, read by a thread that must not wait.
//!
//! What may wait is asked for in a way that fails instead: the path is looked up in the kernel's
//! cache of names (`RESOLVE_CACHED`, Linux 5.12), the bytes are taken from its cache of pages
//! (`RWF_NOWAIT`, 4.14). Opening has no such flag, so only file systems are asked whose `open` looks
//! at memory: not those of a network, nor of another process. What is no regular file is never
//! opened: a writer may wait in a pipe for somebody to open it.
//!
//! Any "no", an error included, sends the caller to a thread, which then says what is wrong. Where
//! there is no Linux the answer is always no.

use std::path::Path;

/// No more is copied by the loop's thread: some microseconds' work.
pub const LIMIT: usize = 64 * 1024;

/// The whole of `path`, if no more than `LIMIT` and in memory.
#[cfg(target_os = "linux")]
#[must_use]
pub fn read(path: &Path) -> Option<Vec<u8>> {
    use std::io::IoSliceMut;

    use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat2};
    use rustix::io::{ReadWriteFlags, preadv2};

    let open =
        |flags| openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED);
    let place = open(OFlags::PATH).ok()?;
    let known = fstat(&place).ok()?;
    let size = usize::try_from(known.st_size).ok()?;
    if FileType::from_raw_mode(known.st_mode) != FileType::RegularFile || size == 0 || size > LIMIT
    {
        return None; // procfs says 0
    }
    if !LOCAL.contains(&fstatfs(&place).ok()?.f_type) {
        return None;
    }
    // Where somebody holds a lease of it, it fails instead of waiting for him (NONBLOCK).
    let file = open(OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size + 1).ok()?;
    bytes.resize(size + 1, 0);
    let read =
        preadv2(&file, &mut [IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT).ok()?;
    // Less is no end yet: Linux 5.9 says 0 where a page is missing. More is a file that grows.
    (read == size).then(|| {
        bytes.truncate(size);
        bytes
    })
}

/// The same where nobody can be asked.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn read(_path: &Path) -> Option<Vec<u8>> {
    None
}

/// File systems that open a file from memory and know `RWF_NOWAIT`: ext2 to ext4, XFS, Btrfs, F2FS.
#[cfg(target_os = "linux")]
const LOCAL: [rustix::fs::FsWord; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;

    /// Its answer depends on the file system, but it is never wrong.
    #[test]
    fn what_it_reads_is_what_stands_there() {
        let folder = std::env::temp_dir().join(format!("offloop-cached-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file");
        for size in [1, 100, 4096, LIMIT, LIMIT + 1] {
            let content: Vec<u8> = (0..=250).cycle().take(size).collect();
            fs::write(&path, &content).unwrap();
            let got = read(&path);
            assert!(got.is_none() || (size <= LIMIT && got == Some(content)), "{size}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_small_regular_file_is_left_to_a_thread() {
        for path in ["/proc/self/status", "/dev/zero", "/dev/null", "/", "/none/such", ""] {
            assert_eq!(read(Path::new(path)), None, "{path}");
        }
    }
}
