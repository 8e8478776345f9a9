//! `bytes` objects that are made of pieces of Rust's: the one place of this project with `unsafe`.
//!
//! PyO3's own `PyBytes::new_with` fills the object with zeros first, with the GIL held. For a
//! body of 10 MiB that is an eighth of the whole fetch, and for one of 64 MiB it holds up the
//! event loop for some 10 ms (docs/decisions/0011).

use std::mem::MaybeUninit;

use bytes::Bytes;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The pieces as one `bytes`.
pub(crate) fn joined<'py>(py: Python<'py>, pieces: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    if let [one] = pieces {
        return Ok(PyBytes::new(py, one));
    }
    Ok(Blank::new(py, pieces.iter().map(Bytes::len).sum())?.filled(pieces).into_bound(py))
}

/// Asks for large pages for what is written next: a body of 10 MiB has 2,560 small ones, and the
/// kernel bringing them in one by one was a tenth of the fetch (docs/decisions/0013).
#[cfg(target_os = "linux")]
fn prefer_large_pages(start: *mut u8, length: usize) {
    // Two large pages of x86-64, so that there is a whole one wherever the object begins.
    if length < 4 * 1024 * 1024 {
        return;
    }
    let page = rustix::param::page_size();
    let skipped = start.align_offset(page);
    let Some(rest) = length.checked_sub(skipped) else { return };
    let rest = rest - rest % page;
    // SAFETY: whole pages within the object; the advice changes how they are backed, not what
    // they hold.
    let _ = unsafe {
        rustix::mm::madvise(start.add(skipped).cast(), rest, rustix::mm::Advice::LinuxHugepage)
    };
}

#[cfg(not(target_os = "linux"))]
fn prefer_large_pages(_: *mut u8, _: usize) {}

/// A `bytes` object that nobody has seen yet, because its content is still to be written.
#[derive(Debug)]
pub(crate) struct Blank {
    object: Py<PyBytes>,
    /// Where its content stands, as long as it lives.
    start: *mut u8,
    length: usize,
}

// SAFETY: the content is touched through the only Blank there is, by whoever has it.
unsafe impl Send for Blank {}

impl Blank {
    pub(crate) fn new(py: Python<'_>, length: usize) -> PyResult<Self> {
        let Ok(size) = ffi::Py_ssize_t::try_from(length) else {
            return Err(PyMemoryError::new_err("the body is too large for bytes"));
        };
        // SAFETY: a null pointer asks for an object of `size` bytes whose content is not set;
        // the result is a new reference, or null with an exception set.
        let made = unsafe {
            let made = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size);
            Bound::from_owned_ptr_or_err(py, made)?
        };
        // SAFETY: it is a bytes object, because it has just been made as one.
        let object = unsafe { made.cast_into_unchecked::<PyBytes>() };
        // SAFETY: it is a bytes object; the pointer is valid for as long as it lives.
        let start = unsafe { ffi::PyBytes_AsString(object.as_ptr()) }.cast::<u8>();
        prefer_large_pages(start, length);
        Ok(Self { object: object.unbind(), start, length })
    }

    /// Its content, for somebody to write. Needs no GIL.
    pub(crate) fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: `start` points to `length` bytes of the object, which lives as long as self and
        // is known to nobody else; any content, or none, is a valid `MaybeUninit`.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.length) }
    }

    /// The object, of which the first `length` bytes have been written; the rest is cut off.
    pub(crate) fn finished(self, py: Python<'_>, length: usize) -> Bound<'_, PyBytes> {
        if length == self.length {
            return self.object.into_bound(py);
        }
        let kept = length.min(self.length);
        // SAFETY: the first `kept` bytes are within the object, and have been written.
        let written = unsafe { std::slice::from_raw_parts(self.start, kept) };
        PyBytes::new(py, written)
    }

    /// Copies `piece` to where `filled` bytes have been written; gives how many that are now.
    /// Needs no GIL.
    pub(crate) fn put(&mut self, filled: usize, piece: &[u8]) -> usize {
        // Together they have its length; whoever broke that shall not write beyond it.
        let filled = filled.min(self.length);
        let fitting = piece.len().min(self.length - filled);
        // SAFETY: `filled + fitting` is at most `length`, so the copy stays within the object.
        // The two do not overlap: `object` is known to nobody but this Blank.
        unsafe {
            let to = self.start.add(filled);
            std::ptr::copy_nonoverlapping(piece.as_ptr(), to, fitting);
        }
        filled + fitting
    }

    /// The object, of which the first `filled` bytes have been written; the rest becomes zeros.
    pub(crate) fn whole(self, filled: usize) -> Py<PyBytes> {
        let filled = filled.min(self.length);
        // SAFETY: what was not written is within the object; it must not show old memory.
        unsafe { std::ptr::write_bytes(self.start.add(filled), 0, self.length - filled) };
        self.object
    }

    /// Copies `pieces` into it, one after the other. Needs no GIL.
    pub(crate) fn filled(
        mut self,
        pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Py<PyBytes> {
        let mut filled = 0;
        for piece in pieces {
            filled = self.put(filled, piece.as_ref());
        }
        self.whole(filled)
    }
}
