//! offloop's Python extension: the list of what `offloop._offloop` exports.
//!
//! # Layout
//! * `job`: the one awaitable class; `progress` moves it along, `settled` is its end, `label` its
//!   name, `farewell` what is said when it is dropped.
//! * `event_loop`: one loop's side of what is under way; `lounge` is the way out, `doorbell` and
//!   `turn` are the way home, `outcome` is what comes.
//! * `errors`: core's failures as Python exceptions; `convert`: core's values as Python objects.
//! * `fetch`, `response`, `headers`, `offload`: one area of core each.
//! * `lifecycle`: fork and exit.

mod convert;
mod doorbell;
mod errors;
mod event_loop;
mod farewell;
mod fetch;
mod headers;
mod job;
mod label;
mod lifecycle;
mod lounge;
mod offload;
mod outcome;
mod progress;
mod response;
mod settled;
mod turn;

/// What Python sees of the Rust side; private to the package `offloop`.
#[pyo3::pymodule(gil_used = true)]
mod _offloop {
    #[pymodule_export]
    use super::fetch::PyClient;
    #[pymodule_export]
    use super::headers::PyHeaders;
    #[pymodule_export]
    use super::job::{PyJob, sleep};
    #[pymodule_export]
    use super::lifecycle::{after_fork_in_child, close_pool, park};
    #[pymodule_export]
    use super::lounge::PySendOff;
    #[pymodule_export]
    use super::offload::{PyWorker, run};
    #[pymodule_export]
    use super::response::PyResponse;
    #[pymodule_export]
    use super::turn::{PyReady, PyRinger};
}
