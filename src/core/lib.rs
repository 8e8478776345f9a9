//! offloop without Python: what runs on Rust's threads and how it comes home.
//!
//! # Layout
//! * [`download`]: files from the net, whole or not at all.
//! * [`error`]: every way to fail.
//! * [`runtime`]: the one tokio runtime, and the only `spawn`.
//! * [`bridge`]: completion queue, tickets, the trip of one operation.
//! * [`checksum`]: of what streams by.
//! * [`fetch`]: the HTTP client's policy over hyper's connections.
//! * [`files`]: whole operations on files, by threads of their own.
//! * [`limit`]: rates, shared by areas.
//! * [`threads`]: bounded threads for system calls that block.
//! * [`offload`]: the queue between those who offload calls and the threads that run them.
//! * [`watch`]: the watchdog that names what blocks an event loop.
//!
//! Dependencies point one way: `download → fetch`, `fetch | offload → limit, bridge, threads, runtime, checksum → error`.

#![forbid(unsafe_code)]

pub mod bridge;
pub mod checksum;
pub mod download;
pub mod error;
pub mod fetch;
pub mod files;
pub mod limit;
pub mod offload;
pub mod runtime;
pub mod threads;
pub mod watch;
