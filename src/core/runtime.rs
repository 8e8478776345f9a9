//! The one tokio runtime of a process, and the only place that spawns on it.
//!
//! It starts with the first operation, on a thread of its own that never touches Python, and
//! runs until the process ends: there is nothing of Python in it that an exit could pull away,
//! and so fetches work even inside `atexit` handlers. One thread, because a second one costs
//! more than it brings on small machines; `OFFLOOP_IO_THREADS` asks for more.
//!
//! A forked child inherits the memory of the runtime but not its threads, so every entry checks
//! a flag that the at-fork hook sets.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;

use crate::error::{Error, Kind};

static HANDLE: OnceLock<Handle> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

/// Written by `after_fork_in_child` alone; Relaxed, as the forked child has one thread.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Runs `future` on the runtime; dropping it is `abort` on the handle.
///
/// # Errors
/// `Forked` in a child whose parent used the runtime, `Resources` without a free thread.
pub fn spawn<F>(future: F) -> Result<AbortHandle, Error>
where
    F: Future<Output = ()> + Send + 'static,
{
    Ok(handle()?.spawn(future).abort_handle())
}

/// Runs many futures for the price of one wake-up: the runtime's own thread spawns them.
///
/// # Errors
/// As `spawn`.
pub fn spawn_each<I>(futures: I) -> Result<(), Error>
where
    I: IntoIterator + Send + 'static,
    I::IntoIter: Send,
    I::Item: Future<Output = ()> + Send + 'static,
{
    spawn(async move {
        for future in futures {
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            tokio::spawn(future);
        }
    })
    .map(drop)
}

/// Starts the runtime if it has not been.
///
/// # Errors
/// As `spawn`.
pub fn start() -> Result<(), Error> {
    handle().map(drop)
}

/// Fails in a forked child that inherited a running runtime.
///
/// # Errors
/// `Forked`.
pub fn check_alive() -> Result<(), Error> {
    if !FORKED.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Forked,
        "this process was forked while offloop was in use; start it with the 'spawn' or \
         'forkserver' method, or fork before the first fetch or run",
    ))
}

/// For the at-fork hook: the threads of the parent do not exist here.
pub fn after_fork_in_child(threads_in_use: bool) {
    if threads_in_use || HANDLE.get().is_some() {
        FORKED.store(true, Ordering::Relaxed);
    }
}

fn handle() -> Result<&'static Handle, Error> {
    check_alive()?;
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let _one_starter = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let started = build(threads_wanted())?;
    Ok(HANDLE.get_or_init(|| started))
}

fn threads_wanted() -> usize {
    let asked = std::env::var("OFFLOOP_IO_THREADS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(1).clamp(1, 64)
}

fn build(threads: usize) -> Result<Handle, Error> {
    let mut builder =
        if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder
        .worker_threads(threads)
        .thread_name("offloop-io")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| refused(&error))?;
    let handle = runtime.handle().clone();
    // The thread that drives the runtime; with several workers it only keeps it alive.
    let (ready, started) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("offloop-io".into())
        .spawn(move || {
            runtime.block_on(async move {
                let _ = ready.send(());
                std::future::pending::<()>().await;
            });
        })
        .map_err(|error| refused(&error))?;
    started.recv().map_err(|_| Error::new(Kind::Resources, "the I/O thread did not start"))?;
    Ok(handle)
}

fn refused(error: &std::io::Error) -> Error {
    let mut failure = Error::new(Kind::Resources, format!("cannot start the I/O thread: {error}"));
    failure.errno = error.raw_os_error();
    failure
}
