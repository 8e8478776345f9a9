//! Folders in batches: each `next` is a Job that gives a batch, an empty one at the end.
//!
//! A batch of a walk stays Rust's, and becomes Python's folder by folder as they are taken: a
//! thread lists what follows meanwhile, and what is skipped is never made.
//!
//! What is listed lies in a lock that the thread at work holds; the loop's thread never waits for
//! it, because one batch is asked for after the other.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use offloop_core::files::walk::{Listing, Names, Scan, Walk};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

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

    /// The next folders, with about `limit` names together, but without what lies below the paths
    /// `skipped`.
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

/// Folders of a tree, listed.
#[pyclass(name = "Listings", module = "offloop._offloop", frozen)]
pub(crate) struct PyListings {
    given: Given,
    /// The loop's thread alone touches them; no Python runs while the lock is held.
    listings: Mutex<VecDeque<Listing>>,
}

impl PyListings {
    pub(super) fn new(given: Given, listings: Vec<Listing>) -> Self {
        Self { given, listings: Mutex::new(listings.into()) }
    }
}

#[pymethods]
impl PyListings {
    /// How many folders are left.
    fn __len__(&self) -> usize {
        lock(&self.listings).len()
    }

    /// The next `(path, folders, files, error)`, which is no longer in it; `None` without one.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let next = lock(&self.listings).pop_front();
        next.map(|listing| show(py, &self.given, listing)).transpose()
    }

    /// Leaves out `path` and all that is below it.
    #[expect(clippy::needless_pass_by_value, reason = "pyo3 extracts values")]
    fn skip(&self, path: Given) {
        lock(&self.listings).retain(|listing| !listing.path.starts_with(path.path()));
    }
}

/// `(path, folders, files, error)`.
fn show<'py>(py: Python<'py>, given: &Given, listing: Listing) -> PyResult<Bound<'py, PyTuple>> {
    let Listing { path, folders, files, failure } = listing;
    let names = |names: &Names| PyList::new(py, names.iter().map(|name| Shown(given, name)));
    let error = failure.map(|failure| given.exception(py, failure).into_value(py));
    (given.show(py, &path)?, names(&folders)?, names(&files)?, error).into_pyobject(py)
}

/// A name that becomes Python's when its place in the list is ready.
struct Shown<'a>(&'a Given, &'a OsStr);

impl<'py> IntoPyObject<'py> for Shown<'_> {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        self.0.show(py, self.1.as_ref())
    }
}
