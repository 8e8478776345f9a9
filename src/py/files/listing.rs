//! Folders in batches: each `next` is a Job that gives a list, an empty one at the end.
//!
//! What is listed lies in a lock that the thread at work holds; the loop's thread never waits for
//! it, because one batch is asked for after the other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use offloop_core::files::walk::{Scan, Walk};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::finding::Found;
use super::given::Given;
use super::work::FileWork;
use crate::convert::lock;
use crate::job::PyJob;

/// The entries of one folder.
#[pyclass(name = "Scan", module = "offloop._offloop", frozen)]
pub(crate) struct PyScan {
    given: Given,
    scan: Arc<Mutex<Scan>>,
}

#[pymethods]
impl PyScan {
    #[new]
    fn new(path: Given) -> Self {
        let scan = Arc::new(Mutex::new(Scan::new(path.path().to_owned())));
        Self { given: path, scan }
    }

    /// The next `(name, kind)`, at most `limit`.
    fn next(&self, py: Python<'_>, limit: usize) -> PyResult<PyJob> {
        let scan = Arc::clone(&self.scan);
        FileWork::job(py, "scandir", self.given.clone(), move |_, halt| {
            lock(&scan).next_batch(limit, halt).map(Found::Entries)
        })
    }
}

/// A tree of folders.
#[pyclass(name = "Walk", module = "offloop._offloop", frozen)]
pub(crate) struct PyWalk {
    given: Given,
    walk: Arc<Mutex<Walk>>,
}

#[pymethods]
impl PyWalk {
    #[new]
    fn new(path: Given, follow_links: bool) -> Self {
        let walk = Arc::new(Mutex::new(Walk::new(path.path().to_owned(), follow_links)));
        Self { given: path, walk }
    }

    /// The next `(path, folders, files, error)`, with about `limit` names together, but without
    /// what lies below the paths `skipped`.
    fn next(&self, py: Python<'_>, limit: usize, skipped: &Bound<'_, PyList>) -> PyResult<PyJob> {
        let walk = Arc::clone(&self.walk);
        let path = |item: Bound<'_, PyAny>| Ok(item.extract::<Given>()?.path().to_owned());
        let skipped = skipped.iter().map(path).collect::<PyResult<Vec<PathBuf>>>()?;
        FileWork::job(py, "walk", self.given.clone(), move |_, halt| {
            let mut walk = lock(&walk);
            for path in &skipped {
                walk.skip(path);
            }
            walk.next_batch(limit, halt).map(Found::Listings)
        })
    }
}
