//! Turns the private cfg on for this crate alone: the global `--cfg loom` would remove `tokio::net`.

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=offloop_loom");
}
