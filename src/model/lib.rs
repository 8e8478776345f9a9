//! `src/core/bridge` and `src/core/offload`, built on loom's primitives so that
//! `cargo test -p offloop-model` can explore every interleaving. The laws stand in their
//! `model.rs`.

#![forbid(unsafe_code)]

#[path = "../core/bridge/mod.rs"]
pub mod bridge;
#[path = "../core/error.rs"]
pub mod error;
#[path = "../core/offload/mod.rs"]
pub mod offload;
