//! `Upload`: the end of a request's body that Python feeds.

use bytes::Bytes;
use offloop_core::error::{Error, Kind, Phase};
use offloop_core::fetch;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;

/// Takes the body of a request chunk by chunk; fed by `offloop._content`.
#[pyclass(name = "Upload", module = "offloop._offloop", frozen)]
pub(crate) struct PyUpload {
    upload: fetch::Upload,
}

impl PyUpload {
    pub(super) fn new(upload: fetch::Upload) -> Self {
        Self { upload }
    }
}

#[pymethods]
impl PyUpload {
    /// Awaiting it gives the chunk away, once there is room; raises Closed when the request is
    /// over.
    fn send(&self, py: Python<'_>, chunk: &Bound<'_, PyBytes>) -> PyResult<PyJob> {
        let sending = self.upload.send(Bytes::copy_from_slice(chunk.as_bytes()));
        let operation = Box::pin(async move {
            sending.await.map_err(Box::new)?;
            Ok(Outcome::Nothing)
        });
        PyJob::new(py, Label::Text("Upload.send"), Work::Operation(operation))
    }

    /// The body is whole.
    fn finish(&self) {
        self.upload.finish();
    }

    /// The body breaks off: `error` becomes the cause of the request's.
    fn fail(&self, error: Bound<'_, PyAny>) {
        let name = error.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        let text = format!("the source of the request's body raised {name}");
        let mut failure = Error::new(Kind::UploadFailed, text).during(Phase::Send);
        failure.details().payload = Some(Box::new(error.unbind()));
        self.upload.fail(failure);
    }

    /// Awaiting it ends when the request no longer wants the body.
    fn closed(&self, py: Python<'_>) -> PyResult<PyJob> {
        let closed = self.upload.closed();
        let operation = Box::pin(async move {
            closed.await;
            Ok(Outcome::Nothing)
        });
        PyJob::new(py, Label::Text("Upload.closed"), Work::Operation(operation))
    }
}
