//! offloop's Python extension: the list of what `offloop._offloop` exports.
//!
//! # Layout
//! * `job`: the one awaitable class; `settled` is its end, `label` its name.
//! * `event_loop`: where completions of one asyncio loop come home; `doorbell` wakes it.
//! * `outcome`: what an operation brings home.
//! * `errors`: core's failures as Python exceptions; `convert`: core's values as Python objects.
//! * `fetch`, `response`, `headers`, `offload`: one area of core each.
//! * `lifecycle`: fork and exit.

mod convert;
mod doorbell;
mod errors;
mod event_loop;
mod fetch;
mod headers;
mod job;
mod label;
mod lifecycle;
mod offload;
mod outcome;
mod response;
mod settled;

/// What Python sees of the Rust side; private to the package `offloop`.
#[pyo3::pymodule(gil_used = true)]
mod _offloop {
    #[pymodule_export]
    use super::event_loop::{PyReady, PyRinger, PySendOff};
    #[pymodule_export]
    use super::fetch::PyClient;
    #[pymodule_export]
    use super::headers::PyHeaders;
    #[pymodule_export]
    use super::job::{PyJob, sleep};
    #[pymodule_export]
    use super::lifecycle::{after_fork_in_child, close_pool};
    #[pymodule_export]
    use super::offload::{PyWorker, run};
    #[pymodule_export]
    use super::response::PyResponse;
}
