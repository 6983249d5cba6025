//! Documents passed from Python.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PyString};

use crate::errors;

/// The bytes of a document: borrowed from immutable objects, copied from mutable ones.
pub(crate) enum Body<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl<'a> Body<'a> {
    pub(crate) fn of(object: &'a Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Borrowed(bytes.as_bytes()));
        }
        if let Ok(text) = object.cast::<PyString>() {
            return match text.to_str() {
                Ok(text) => Ok(Self::Borrowed(text.as_bytes())),
                // A str can contain half of a surrogate pair.
                Err(_) => Err(errors::envelope(
                    object.py(),
                    "invalid_utf8",
                    "the text contains half of a surrogate pair, which UTF-8 cannot encode",
                    None,
                    None,
                )),
            };
        }
        if let Ok(bytes) = object.cast::<PyByteArray>() {
            return Ok(Self::Owned(bytes.to_vec()));
        }
        if object.is_instance_of::<PyMemoryView>() {
            let bytes = object.call_method0("tobytes")?;
            return Ok(Self::Owned(bytes.cast::<PyBytes>()?.as_bytes().to_vec()));
        }
        let kind = object.get_type().qualname()?;
        let hint = if object.is_instance_of::<PyDict>() || object.is_instance_of::<PyList>() {
            "; convert it with json.dumps"
        } else {
            ""
        };
        let message = format!("a document is bytes, bytearray, memoryview or str, not {kind}{hint}");
        Err(PyTypeError::new_err(message))
    }

    /// Whether an object has the type of a document.
    pub(crate) fn is_one(object: &Bound<'_, PyAny>) -> bool {
        object.is_instance_of::<PyBytes>()
            || object.is_instance_of::<PyString>()
            || object.is_instance_of::<PyByteArray>()
            || object.is_instance_of::<PyMemoryView>()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}
