//! How a Rust thread wakes an event loop: through a descriptor the loop watches, or, where a
//! loop watches none (Windows' proactor), through a thread that calls `call_soon_threadsafe`.
//!
//! A bell lives as long as anybody may ring it, so its descriptor's number cannot come to mean
//! another file.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use offloop_core::bridge::Doorbell;

use crate::convert::lock;

/// The doorbell of one loop.
#[derive(Debug)]
pub(crate) struct LoopBell {
    wire: Wire,
    /// Set once, before the first ring, for a loop that does not watch descriptors.
    ringer: OnceLock<Arc<Ringer>>,
}

impl LoopBell {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { wire: Wire::new()?, ringer: OnceLock::new() })
    }

    /// The descriptor that becomes readable when the bell rings.
    pub(crate) fn descriptor(&self) -> Option<i32> {
        self.wire.descriptor()
    }

    /// Forgets that it was rung; the loop's thread calls it before it drains.
    pub(crate) fn silence(&self) {
        if self.ringer.get().is_none() {
            self.wire.silence();
        }
    }

    /// From now on rings go to the returned ringer.
    pub(crate) fn ring_by_thread(&self) -> Arc<Ringer> {
        Arc::clone(self.ringer.get_or_init(Arc::default))
    }
}

impl Doorbell for LoopBell {
    fn ring(&self) {
        match self.ringer.get() {
            Some(ringer) => ringer.ring(),
            None => self.wire.ring(),
        }
    }
}

/// Where rings wait for a thread that passes them on.
#[derive(Debug, Default)]
pub(crate) struct Ringer {
    /// Rung since the last `wait`.
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Ringer {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_one();
    }

    /// True at a ring, false when none came within `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(lock(&self.rung), limit, |rung| !*rung);
        std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

#[cfg(target_os = "linux")]
use linux::Wire;
#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    /// An eventfd: eight bytes of kernel memory, one system call to ring, one to silence.
    #[derive(Debug)]
    pub(super) struct Wire(OwnedFd);

    impl Wire {
        pub(super) fn new() -> std::io::Result<Self> {
            Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
        }

        #[expect(clippy::unnecessary_wraps, reason = "the same shape on every system")]
        pub(super) fn descriptor(&self) -> Option<i32> {
            Some(self.0.as_raw_fd())
        }

        /// A counter that is full (EAGAIN) is a bell that rings already.
        pub(super) fn ring(&self) {
            let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
        }

        pub(super) fn silence(&self) {
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
use socket_pair::Wire;
#[cfg(all(unix, not(target_os = "linux")))]
mod socket_pair {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// A pair of sockets. Untested: no such machine was at hand.
    #[derive(Debug)]
    pub(super) struct Wire {
        near: UnixStream,
        far: UnixStream,
    }

    impl Wire {
        pub(super) fn new() -> std::io::Result<Self> {
            let (near, far) = UnixStream::pair()?;
            near.set_nonblocking(true)?;
            far.set_nonblocking(true)?;
            Ok(Self { near, far })
        }

        #[expect(clippy::unnecessary_wraps, reason = "the same shape on every system")]
        pub(super) fn descriptor(&self) -> Option<i32> {
            Some(self.near.as_raw_fd())
        }

        pub(super) fn ring(&self) {
            let _ = (&self.far).write(&[1]);
        }

        pub(super) fn silence(&self) {
            while matches!((&self.near).read(&mut [0; 64]), Ok(64)) {}
        }
    }
}

#[cfg(not(unix))]
use none::Wire;
#[cfg(not(unix))]
mod none {
    /// No descriptor a loop could watch: a thread rings. Untested: no such machine was at hand.
    #[derive(Debug)]
    pub(super) struct Wire;

    impl Wire {
        #[expect(clippy::unnecessary_wraps, reason = "the same shape on every system")]
        pub(super) fn new() -> std::io::Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::unused_self, reason = "the same shape on every system")]
        pub(super) fn descriptor(&self) -> Option<i32> {
            None
        }

        pub(super) fn ring(&self) {}

        pub(super) fn silence(&self) {}
    }
}
