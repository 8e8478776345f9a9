//! Names of the system calls that can keep a thread waiting, and which of them are an event
//! loop's own way of being idle. Numbers from Linux' `syscall_64.tbl` and `asm-generic/unistd.h`.

macro_rules! calls {
    ($($name:literal => $x86:literal $(, $generic:literal)?;)*) => {
        /// The name of a system call of this machine, for those that may block.
        pub(super) fn name(number: i64) -> Option<&'static str> {
            let table: &[(&'static str, i64, Option<i64>)] =
                &[$(($name, $x86, calls!(@generic $($generic)?)),)*];
            let found = table.iter().find(|(_, x86, generic)| match ARCHITECTURE {
                Architecture::X86 => *x86 == number,
                Architecture::Generic => *generic == Some(number),
                Architecture::Unknown => false,
            });
            found.map(|(name, _, _)| *name)
        }
    };
    (@generic $generic:literal) => { Some($generic) };
    (@generic) => { None };
}

#[derive(Clone, Copy)]
enum Architecture {
    X86,
    Generic,
    Unknown,
}

const ARCHITECTURE: Architecture = if cfg!(target_arch = "x86_64") {
    Architecture::X86
} else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) {
    Architecture::Generic
} else {
    Architecture::Unknown
};

calls! {
    "read" => 0, 63;
    "write" => 1, 64;
    "open" => 2;
    "close" => 3, 57;
    "stat" => 4;
    "fstat" => 5, 80;
    "lstat" => 6;
    "poll" => 7;
    "ioctl" => 16, 29;
    "pread64" => 17, 67;
    "pwrite64" => 18, 68;
    "readv" => 19, 65;
    "writev" => 20, 66;
    "select" => 23;
    "msync" => 26, 227;
    "pause" => 34;
    "nanosleep" => 35, 101;
    "sendfile" => 40, 71;
    "connect" => 42, 203;
    "accept" => 43, 202;
    "sendto" => 44, 206;
    "recvfrom" => 45, 207;
    "sendmsg" => 46, 211;
    "recvmsg" => 47, 212;
    "wait4" => 61, 260;
    "semop" => 65, 193;
    "msgsnd" => 69, 189;
    "msgrcv" => 70, 188;
    "fcntl" => 72, 25;
    "flock" => 73, 32;
    "fsync" => 74, 82;
    "fdatasync" => 75, 83;
    "truncate" => 76, 45;
    "ftruncate" => 77, 46;
    "getdents" => 78;
    "rename" => 82;
    "mkdir" => 83;
    "rmdir" => 84;
    "unlink" => 87;
    "rt_sigtimedwait" => 128, 137;
    "sync" => 162, 81;
    "futex" => 202, 98;
    "io_getevents" => 208, 4;
    "getdents64" => 217, 61;
    "semtimedop" => 220, 192;
    "clock_nanosleep" => 230, 115;
    "epoll_wait" => 232;
    "waitid" => 247, 95;
    "openat" => 257, 56;
    "mkdirat" => 258, 34;
    "newfstatat" => 262, 79;
    "unlinkat" => 263, 35;
    "renameat" => 264, 38;
    "pselect6" => 270, 72;
    "ppoll" => 271, 73;
    "splice" => 275, 76;
    "sync_file_range" => 277, 84;
    "epoll_pwait" => 281, 22;
    "fallocate" => 285, 47;
    "accept4" => 288, 242;
    "recvmmsg" => 299, 243;
    "syncfs" => 306, 267;
    "sendmmsg" => 307, 269;
    "renameat2" => 316, 276;
    "copy_file_range" => 326, 285;
    "preadv2" => 327, 286;
    "pwritev2" => 328, 287;
    "statx" => 332, 291;
    "io_uring_enter" => 426, 426;
    "epoll_pwait2" => 441, 441;
}

/// Whether this call is a loop waiting for its descriptors: `epoll_*` on its own descriptor, or
/// for a loop without one (`None`) any `select` or `poll`.
pub(super) fn is_idle(number: i64, first_argument: u64, poller: Option<i32>) -> bool {
    match (name(number), poller) {
        (Some("epoll_wait" | "epoll_pwait" | "epoll_pwait2"), Some(poller)) => {
            u64::try_from(poller).is_ok_and(|poller| poller == first_argument)
        }
        (Some("select" | "pselect6" | "poll" | "ppoll"), None) => true,
        _ => false,
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_loops_own_poller_is_idle() {
        assert!(is_idle(232, 5, Some(5)));
        assert!(!is_idle(232, 6, Some(5)), "another epoll");
        assert!(!is_idle(23, 5, Some(5)), "a select beside the loop's epoll");
        assert!(is_idle(23, 0, None));
        assert_eq!(name(230), Some("clock_nanosleep"));
    }
}
