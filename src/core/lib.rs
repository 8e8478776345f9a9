//! offloop without Python: what runs on Rust's threads and how it comes home.
//!
//! # Layout
//! * [`error`]: every way to fail.
//! * [`runtime`]: the one tokio runtime, and the only `spawn`.
//! * [`bridge`]: completion queue, tickets, the trip of one operation.
//! * [`fetch`]: the HTTP client's policy over reqwest.
//! * [`offload`]: the queue between those who offload calls and the threads that run them.
//!
//! Dependencies point one way: `fetch | offload → bridge, runtime → error`.

#![forbid(unsafe_code)]

pub mod bridge;
pub mod error;
pub mod fetch;
pub mod offload;
pub mod runtime;
