//! What an operation on files brings home, and what Python sees of it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use offloop_core::files::read::{Filled, Large};
use offloop_core::files::walk::{Kind, Listing};
use offloop_core::files::{Failure, Halt};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::given::{Data, Given};
use super::listing::PyListings;
use super::work;
use crate::bytes::{Blank, joined};
use crate::event_loop::{Bridge, Parcel};
use crate::outcome::{Landing, Outcome};

/// The end of an operation on files.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) given: Given,
    pub(crate) found: Result<Found, Failure>,
    /// What was written; it comes along to be released in the loop's thread.
    pub(crate) data: Option<Data>,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file is open, and its content is too much to be copied by the loop's thread.
    Large(Large, Arc<Halt>),
    /// The content stands in a `bytes` object.
    Filled(Blank, Filled),
    /// A small file.
    Bytes(Vec<u8>),
    /// So many bytes were written.
    Written(usize),
    /// Where a copy stands.
    Path(PathBuf),
    /// Text of letters and digits.
    Text(String),
    /// There is nothing to say.
    Nothing,
    /// Entries of one folder.
    Entries(Vec<(OsString, Kind)>),
    /// Folders of a tree.
    Listings(Vec<Listing>),
}

impl Finding {
    /// Has a large file read into the `bytes` it is to be.
    pub(crate) fn land(self, py: Python<'_>, bridge: &Bridge, parcel: &Parcel) -> Landing {
        let Self { given, found, data } = self;
        let (large, halt) = match found {
            Ok(Found::Large(large, halt)) => (large, halt),
            found => return Landing::Done(Outcome::File(Box::new(Self { given, found, data }))),
        };
        let done = |given, found| {
            Landing::Done(Outcome::File(Box::new(Self { given, found, data: None })))
        };
        // Cheap, however large: the system gives the memory when it is written to.
        let Ok(mut blank) = Blank::new(py, large.size) else {
            return done(given, Err(Failure::Memory));
        };
        parcel.ticket.reopen();
        let again = Parcel::new(parcel.slot, Arc::clone(&parcel.ticket));
        let fallback = given.clone();
        let fill = move || {
            let filled = large.fill(blank.room(), &halt);
            let found = filled.map(|filled| Found::Filled(blank, filled));
            Outcome::File(Box::new(Self { given, found, data: None }))
        };
        if work::send_again(&bridge.door, again, fill).is_ok() {
            return Landing::SecondLeg;
        }
        // No thread, which is for want of memory.
        parcel.ticket.retake();
        done(fallback, Err(Failure::Memory))
    }

    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Self { given, found, data: _ } = self;
        let found = found.map_err(|failure| given.exception(py, failure))?;
        Ok(match found {
            // `land` has dealt with it; a file that is only open is no result.
            Found::Large(..) | Found::Nothing => py.None(),
            Found::Filled(blank, filled) => {
                let object = blank.finished(py, filled.length);
                if filled.rest.is_empty() {
                    return Ok(object.into_any().unbind());
                }
                let begin = Bytes::copy_from_slice(object.as_bytes());
                joined(py, &[begin, filled.rest.into()])?.into_any().unbind()
            }
            Found::Bytes(bytes) => PyBytes::new(py, &bytes).into_any().unbind(),
            Found::Written(length) => length.into_pyobject(py)?.into_any().unbind(),
            Found::Path(path) => given.show(py, &path)?.unbind(),
            Found::Text(text) => PyString::new(py, &text).into_any().unbind(),
            Found::Entries(entries) => {
                let entries = entries.into_iter().map(|(name, kind)| {
                    let kind = match kind {
                        Kind::Folder => "dir",
                        Kind::File => "file",
                        Kind::Link => "link",
                        Kind::Other => "other",
                    };
                    (given.show(py, name.as_ref())?, kind).into_pyobject(py)
                });
                let entries = entries.collect::<PyResult<Vec<_>>>()?;
                entries.into_pyobject(py)?.into_any().unbind()
            }
            Found::Listings(listings) => Py::new(py, PyListings::new(given, listings))?.into_any(),
        })
    }
}
