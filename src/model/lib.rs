//! `src/core/bridge`, built on loom's primitives so that `cargo test -p offloop-model` can
//! explore every interleaving. The laws stand in `src/core/bridge/model.rs`.

#![forbid(unsafe_code)]

#[path = "../core/bridge/mod.rs"]
pub mod bridge;
