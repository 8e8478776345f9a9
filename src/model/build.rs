//! Turns the private cfg on for this crate alone: the global `--cfg loom` would remove `tokio::net`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=offloop_loom");
}
