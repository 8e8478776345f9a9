//! Whole files, one trip each. `offloop.files` has their documentation.

use offloop_core::checksum::Algorithm;
use offloop_core::files::read::{Read, read};
use offloop_core::files::{Halt, atomic, cached, copy, hash, tree, write};
use pyo3::prelude::*;
use std::path::Path;
use std::sync::Arc;

use super::finding::Found;
use super::given::{Data, Given};
use super::work::FileWork;
use crate::errors;
use crate::job::PyJob;
use crate::outcome::LARGE;

/// Awaiting it gives the whole of the file at `path`, as bytes.
///
/// One trip to a thread, however many system calls it takes. Raises what the builtin `open` and
/// `read` raise: `OSError` and its kinds, with `errno` and `filename`.
///
/// Cancellation: the thread reads to the end, and what it brings is dropped.
///
/// Thread safety: may be called from any thread.
#[pyfunction]
#[pyo3(signature = (path, /))]
pub(crate) fn read_bytes(py: Python<'_>, path: Given) -> PyResult<PyJob> {
    let peek = |path: &Path| cached::read(path).map(Found::Bytes);
    FileWork::peeking(py, "read_bytes", path, peek, |given, halt| {
        Ok(match read(given.path(), LARGE, halt)? {
            Read::Whole(bytes) => Found::Bytes(bytes),
            Read::Large(large) => Found::Large(large, Arc::clone(halt)),
        })
    })
}

/// New content in place.
#[pyfunction]
pub(crate) fn write_file(
    py: Python<'_>,
    path: Given,
    data: Data,
    durable: bool,
) -> PyResult<PyJob> {
    FileWork::writing(py, "write_bytes", path, data, move |path, bytes, halt| {
        write::write(path, bytes, false, durable, halt)
    })
}

/// New content at once or not at all.
#[pyfunction]
pub(crate) fn replace_file(
    py: Python<'_>,
    path: Given,
    data: Data,
    durable: bool,
) -> PyResult<PyJob> {
    FileWork::writing(py, "write_bytes", path, data, move |path, bytes, halt| {
        atomic::write(path, bytes, durable, halt)
    })
}

/// New content, written by the calling thread: for threads that have made the data.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "extracted for this call")]
pub(crate) fn write_now(
    py: Python<'_>,
    path: Given,
    data: Data,
    atomic: bool,
    durable: bool,
) -> PyResult<()> {
    let halt = Halt::default();
    let written = py.detach(|| {
        if atomic {
            atomic::write(path.path(), data.bytes(), durable, &halt)
        } else {
            write::write(path.path(), data.bytes(), false, durable, &halt)
        }
    });
    written.map_err(|failure| path.exception(py, failure))
}

#[pyfunction]
pub(crate) fn append_file(
    py: Python<'_>,
    path: Given,
    data: Data,
    durable: bool,
) -> PyResult<PyJob> {
    FileWork::writing(py, "append", path, data, move |path, bytes, halt| {
        write::write(path, bytes, true, durable, halt)
    })
}

#[pyfunction]
pub(crate) fn copy_file(
    py: Python<'_>,
    source: Given,
    target: Given,
    durable: bool,
) -> PyResult<PyJob> {
    FileWork::job(py, "copy", source, move |given, halt| {
        copy::copy(given.path(), target.path(), durable, halt).map(Found::Path)
    })
}

#[pyfunction]
pub(crate) fn remove_tree(py: Python<'_>, path: Given) -> PyResult<PyJob> {
    FileWork::job(py, "remove_tree", path, |given, halt| {
        tree::remove(given.path(), halt).map(|()| Found::Nothing)
    })
}

#[pyfunction]
pub(crate) fn hash_file(py: Python<'_>, path: Given, algorithm: &str) -> PyResult<PyJob> {
    let algorithm = Algorithm::parse(algorithm).map_err(|error| errors::exception(py, error))?;
    FileWork::job(py, "hash_file", path, move |given, halt| {
        hash::hash(given.path(), algorithm, halt).map(|sum| Found::Text(sum.hex()))
    })
}
