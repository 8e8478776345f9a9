//! offloop's Python extension: the list of what `offloop._offloop` exports.
//!
//! # Layout
//! * `job`: the one awaitable class; `progress` moves it along, `settled` is its end, `label` its
//!   name, `farewell` what is said when it is dropped.
//! * `event_loop`: one loop's side of what is under way; `lounge` is the way out, `doorbell` and
//!   `turn` are the way home, `outcome` is what comes.
//! * `bytes`: `bytes` objects made of pieces, with the only `unsafe`.
//! * `errors`: core's failures as Python exceptions; `convert`: core's values as Python objects.
//! * `fetch`, `download`, `files`, `offload`, `watch`: one area of core each.
//! * `record`: what Jobs were, for those who watch.
//! * `lifecycle`: fork and exit.

mod bytes;
mod convert;
mod doorbell;
mod download;
mod errors;
mod event_loop;
mod farewell;
mod fetch;
mod files;
mod job;
mod label;
mod lifecycle;
mod lounge;
mod offload;
mod outcome;
mod progress;
mod record;
mod settled;
mod turn;
mod watch;

/// What Python sees of the Rust side; private to the package `offloop`.
#[pyo3::pymodule(gil_used = true)]
mod _offloop {
    #[pymodule_export]
    use super::download::PyMeter;
    #[pymodule_export]
    use super::fetch::client::fetch_stats;
    #[pymodule_export]
    use super::fetch::relay::relay;
    #[pymodule_export]
    use super::fetch::{
        PyBatch, PyByteStream, PyClient, PyCookies, PyFetched, PyHeaders, PyRequest, PyResponse,
        PyUpload,
    };
    #[pymodule_export]
    use super::files::{
        PyListings, PyScan, PyWalk, append_file, copy_file, hash_file, read_bytes, remove_tree,
        replace_file, write_file, write_now,
    };
    #[pymodule_export]
    use super::job::{PyJob, sleep};
    #[pymodule_export]
    use super::lifecycle::{after_fork_in_child, close_pool, park};
    #[pymodule_export]
    use super::lounge::PySendOff;
    #[pymodule_export]
    use super::offload::{
        PyLooks, PyPromise, PyRunner, PySubmission, PyTurn, PyTurns, PyWorker, long_calls, promise,
        run, running_calls, set_default, take_failed, waits_in_loop,
    };
    #[pymodule_export]
    use super::turn::{PyReady, PyRinger};
    #[pymodule_export]
    use super::watch::{PyDumps, PyProd, PyStall, PyWatcher, note_garbage, watch_clock};
}
