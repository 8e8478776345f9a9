//! The body of a request: bytes at hand, pieces and files, or a feeder that Python runs.
//! Runs in the caller's thread with the GIL; `offloop._content` does the encoding.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{self, Content, Piece};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::options::RequestOptions;
use super::upload::PyUpload;
use crate::convert::Imported;
use crate::errors;

/// The type that was given, with the boundary of the one that was made.
fn with_boundary(given: &HeaderValue, made: &str) -> Option<HeaderValue> {
    let given = given.to_str().ok().filter(|given| !given.contains("boundary="))?;
    let (_, boundary) = made.split_once(';')?;
    HeaderValue::from_str(&format!("{given};{boundary}")).ok()
}

/// The body, and who feeds it if it comes from Python while it is sent.
pub(super) fn content(
    options: &RequestOptions<'_>,
    all: &mut Arc<HeaderMap>,
) -> PyResult<(Content, Option<Py<PyAny>>)> {
    static ENCODE: Imported = Imported::new("offloop._content", "encode");
    static FEEDER: Imported = Imported::new("offloop._response", "feeder");
    let some = |option: &Option<Bound<'_, PyAny>>| option.as_ref().is_some_and(|it| !it.is_none());
    let encoded = some(&options.data) || some(&options.files) || options.json.is_some();
    if !encoded {
        let Some(content) = options.content.as_ref().filter(|it| !it.is_none()) else {
            return Ok((Content::Empty, None));
        };
        if let Ok(bytes) = content.cast::<PyBytes>() {
            return Ok((Content::Bytes(Bytes::copy_from_slice(bytes.as_bytes())), None));
        }
        // A text that has no UTF-8 goes on to Python's side, which says so.
        if let Ok(text) = content.cast::<PyString>()
            && let Ok(text) = text.to_str()
        {
            return Ok((Content::Bytes(Bytes::copy_from_slice(text.as_bytes())), None));
        }
    }
    let Some(py) = [&options.content, &options.data, &options.files, &options.json]
        .into_iter()
        .find_map(|option| option.as_ref().map(Bound::py))
    else {
        return Ok((Content::Empty, None));
    };
    let arguments = PyDict::new(py);
    for (name, option) in [
        ("content", &options.content),
        ("data", &options.data),
        ("files", &options.files),
        ("json", &options.json),
    ] {
        if let Some(value) = option {
            arguments.set_item(name, value)?;
        }
    }
    let encoded = ENCODE.load(py)?.call((), Some(&arguments))?;
    let content_type: Option<String> = encoded.getattr(intern!(py, "content_type"))?.extract()?;
    if let Some(content_type) = content_type {
        let value = HeaderValue::from_str(&content_type).map_err(|_| {
            let text = "the content type has a control character";
            errors::exception(py, Error::new(Kind::InvalidHeader, text))
        })?;
        let headers = Arc::make_mut(all);
        if some(&options.files) {
            // It has to name the boundary; a type that was given without one keeps its name.
            let own = headers.get(CONTENT_TYPE).and_then(|own| with_boundary(own, &content_type));
            headers.insert(CONTENT_TYPE, own.unwrap_or(value));
        } else {
            headers.entry(CONTENT_TYPE).or_insert(value);
        }
    }
    let length: Option<u64> = encoded.getattr(intern!(py, "length"))?.extract()?;
    let source = encoded.getattr(intern!(py, "source"))?;
    if !source.is_none() {
        let (upload, content) = fetch::Upload::new(length);
        let upload = Bound::new(py, PyUpload::new(upload))?;
        let feeder = FEEDER.load(py)?.call1((upload, source))?;
        return Ok((content, Some(feeder.unbind())));
    }
    let mut pieces = Vec::new();
    for piece in encoded.getattr(intern!(py, "pieces"))?.try_iter()? {
        let piece = piece?;
        pieces.push(match piece.cast::<PyBytes>() {
            Ok(bytes) => Piece::Bytes(Bytes::copy_from_slice(bytes.as_bytes())),
            Err(_) => Piece::File(piece.extract()?),
        });
    }
    Ok((
        match (pieces.as_slice(), length) {
            ([Piece::Bytes(one)], _) => Content::Bytes(one.clone()),
            ([], _) => Content::Bytes(Bytes::new()),
            (_, length) => Content::Pieces(pieces.into(), length.unwrap_or_default()),
        },
        None,
    ))
}
