//! Paths and data as users give them. Runs on the loop's thread, with the GIL.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offloop_core::files::Failure;
use pyo3::exceptions::{PyMemoryError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString};

use crate::convert::Imported;

/// Data above this stays where Python has it while it is written; below it a copy is cheaper than
/// bringing the object home.
const BORROWED: usize = 64 * 1024;

/// A path, and whether it was given as `bytes`: errors name it as it was given.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    path: Arc<Path>,
    bytes: bool,
}

impl Given {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shared(&self) -> Arc<Path> {
        Arc::clone(&self.path)
    }

    /// A path as Python shows it.
    pub(crate) fn show<'py>(&self, py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyAny>> {
        if self.bytes {
            // What `os.fsencode` makes of it: the system's bytes, or on Windows UTF-8 with lone
            // surrogates.
            return Ok(PyBytes::new(py, path.as_os_str().as_encoded_bytes()).into_any());
        }
        Ok(path.as_os_str().into_pyobject(py)?.into_any())
    }

    /// What the builtins would have raised.
    pub(crate) fn exception(&self, py: Python<'_>, failure: Failure) -> PyErr {
        self.build(py, failure).unwrap_or_else(|error| error)
    }

    fn build(&self, py: Python<'_>, failure: Failure) -> PyResult<PyErr> {
        static STRERROR: Imported = Imported::new("os", "strerror");
        static SAME_FILE: Imported = Imported::new("shutil", "SameFileError");
        static CANCELLED: Imported = Imported::new("asyncio", "CancelledError");
        Ok(match failure {
            Failure::System { errno, path, other } => {
                let text = STRERROR.load(py)?.call1((errno,))?;
                let path = self.show(py, &path)?;
                // OSError chooses the subclass by the number.
                let class = py.get_type::<PyOSError>();
                PyErr::from_value(match other {
                    Some(other) => {
                        class.call1((errno, text, path, py.None(), self.show(py, &other)?))?
                    }
                    None => class.call1((errno, text, path))?,
                })
            }
            Failure::Memory => PyMemoryError::new_err(()),
            Failure::SameFile { source, target } => {
                let (source, target) =
                    (self.show(py, &source)?.repr()?, self.show(py, &target)?.repr()?);
                let text = format!("{source} and {target} are the same file");
                PyErr::from_value(SAME_FILE.load(py)?.call1((text,))?)
            }
            Failure::Stopped => PyErr::from_value(CANCELLED.load(py)?.call0()?),
        })
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Given {
    type Error = PyErr;

    /// `str`, `bytes` or `os.PathLike`, as `open` takes them.
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        static DECODE: Imported = Imported::new("os", "fsdecode");
        static FSPATH: Imported = Imported::new("os", "fspath");
        let py = object.py();
        let object = if object.is_instance_of::<PyString>() {
            object.to_owned()
        } else {
            FSPATH.load(py)?.call1((object,))?
        };
        let bytes = object.is_instance_of::<PyBytes>();
        let text = if bytes { DECODE.load(py)?.call1((object,))? } else { object };
        let path: OsString = text.extract()?;
        if path.as_encoded_bytes().contains(&0) {
            let kind = if bytes { "byte" } else { "character" };
            return Err(PyValueError::new_err(format!("embedded null {kind}")));
        }
        Ok(Self { path: PathBuf::from(path).into(), bytes })
    }
}

/// Bytes to be written: a copy of small or changeable ones, the object itself of large ones.
#[derive(Debug)]
pub(crate) enum Data {
    Copied(Vec<u8>),
    Kept(PyBackedBytes),
}

impl Data {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Kept(bytes) => bytes,
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Data {
    type Error = PyErr;

    /// Anything with a buffer, as `write` of a binary file takes it.
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        static VIEW: Imported = Imported::new("builtins", "memoryview");
        let py = object.py();
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return if bytes.as_bytes().len() > BORROWED {
                Ok(Self::Kept(bytes.extract()?))
            } else {
                Ok(Self::Copied(bytes.as_bytes().to_vec()))
            };
        }
        let copied = VIEW.load(py)?.call1((object,))?.call_method0("tobytes")?;
        Ok(Self::Kept(copied.extract()?))
    }
}
