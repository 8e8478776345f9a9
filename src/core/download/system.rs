//! What differs between operating systems: flags, identities, modes, atomic names.
//!
//! Where a system has no such thing, the plain way of the standard library is taken.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use ring::rand::{SecureRandom, SystemRandom};

/// How files are opened that exist: never through a symbolic link, and a pipe does not block.
pub(super) fn existing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }
    options
}

/// The same for files that only their owner is to read.
pub(super) fn private() -> OpenOptions {
    let mut options = existing();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// Device and inode: which file it is, whatever its name.
#[cfg(unix)]
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
pub(super) fn identity(_metadata: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// Whether a file is a plain one of this user's, with one name.
#[cfg(unix)]
pub(super) fn is_own(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    // None is what a file has that was removed a moment ago: whoever locks it will see that.
    metadata.is_file() && own && metadata.nlink() <= 1
}

#[cfg(not(unix))]
pub(super) fn is_own(metadata: &Metadata) -> bool {
    metadata.is_file()
}

/// Something is where it should not be.
pub(super) fn exists() -> io::Error {
    #[cfg(unix)]
    return rustix::io::Errno::EXIST.into();
    #[cfg(not(unix))]
    io::ErrorKind::AlreadyExists.into()
}

/// A folder is where a file should be.
pub(super) fn is_a_folder() -> io::Error {
    #[cfg(unix)]
    return rustix::io::Errno::ISDIR.into();
    #[cfg(not(unix))]
    io::ErrorKind::IsADirectory.into()
}

/// A file is where a folder should be.
pub(super) fn is_no_folder() -> io::Error {
    #[cfg(unix)]
    return rustix::io::Errno::NOTDIR.into();
    #[cfg(not(unix))]
    io::ErrorKind::NotADirectory.into()
}

/// Whether a file system has no locks at all: then there is nothing to be waited for.
pub(super) fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let code = error.raw_os_error();
        [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK]
            .iter()
            .any(|it| code == Some(it.raw_os_error()))
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::Unsupported
    }
}

/// Writes all of `bytes`; how many it were, and what went wrong with the rest.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> (u64, io::Result<()>) {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        #[cfg(unix)]
        let wrote = std::os::unix::fs::FileExt::write_at(file, rest, offset + done as u64);
        #[cfg(windows)]
        let wrote = std::os::windows::fs::FileExt::seek_write(file, rest, offset + done as u64);
        match wrote {
            Ok(0) => return (done as u64, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done as u64, Err(error)),
        }
    }
    (done as u64, Ok(()))
}

/// Reads some bytes; none at the end of the file.
pub(super) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let got = std::os::unix::fs::FileExt::read_at(file, into, offset);
        #[cfg(windows)]
        let got = std::os::windows::fs::FileExt::seek_read(file, into, offset);
        match got {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Gives a file the name `to`: whatever was there is replaced if `overwrite`, and in no case is
/// there a moment without either.
pub(super) fn rename(from: &Path, to: &Path, overwrite: bool) -> io::Result<()> {
    if !overwrite {
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            use rustix::io::Errno;
            match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                // A kernel or a file system that does not know the flag.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {}
                other => return other.map_err(io::Error::from),
            }
        }
        if std::fs::symlink_metadata(to).is_ok() {
            return Err(exists());
        }
    }
    std::fs::rename(from, to)
}

/// Has the names in a folder written to the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Removes a file, if it still is the one with this identity.
pub(super) fn remove_own(path: &Path, own: (u64, u64)) {
    let same = std::fs::symlink_metadata(path).is_ok_and(|it| identity(&it) == own);
    if same {
        // Whoever cleans up after a failure has that failure to tell of.
        let _ = std::fs::remove_file(path);
    }
}

/// Gives a file the mode that new files of this process have.
pub(super) fn set_usual_mode(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o666 & !umask()))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// The umask, which cannot be asked for without changing it, except of Linux's /proc.
#[cfg(unix)]
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok()).unwrap_or(0o022)
}

/// Which run of the machine this is; always the same where that cannot be said.
pub(super) fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let plain = |it: &char| it.is_ascii_hexdigit() || *it == '-';
        text.chars().filter(plain).take(64).collect()
    })
}

/// A name that nobody guesses.
pub(super) fn random_name() -> String {
    let mut bytes = [0; 8];
    // Without randomness the name is taken soon, and that is seen when the file is made.
    let _ = SystemRandom::new().fill(&mut bytes);
    format!("{:016x}", u64::from_ne_bytes(bytes))
}
