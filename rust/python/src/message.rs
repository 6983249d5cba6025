//! Converts the arguments of `RouteTable`'s methods to a message.

use std::borrow::Cow;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMapping, PyTuple};
use waypost_core::auth::Identity;
use waypost_core::dialect::{self, Dialect};
use waypost_core::table::{Header, Message};

use crate::body::Body;

/// A message that owns all data that Python might change or free.
pub(crate) struct Owned<'a> {
    body: Option<Body<'a>>,
    dialect: Dialect,
    headers: Vec<Header<'static>>,
    path: String,
    method: String,
    identity: Option<Identity>,
    client: Option<&'a str>,
}

impl<'a> Owned<'a> {
    pub(crate) fn new(
        body: Option<&'a Bound<'_, PyAny>>,
        dialect: &str,
        headers: Option<&Bound<'_, PyAny>>,
        path: &str,
        method: &str,
        identity: Option<&Bound<'_, PyMapping>>,
        client: Option<&'a str>,
    ) -> PyResult<Self> {
        let Some(dialect) = Dialect::parse(dialect) else {
            let known = Dialect::ALL.map(Dialect::name).join(", ");
            return Err(PyValueError::new_err(format!("there is no dialect {dialect:?}; dialects: {known}")));
        };
        let path = if path.is_empty() { dialect.default_path() } else { path };
        Ok(Self {
            body: body.map(Body::of).transpose()?,
            dialect,
            headers: headers.map_or_else(|| Ok(Vec::new()), read_headers)?,
            path: path.split('?').next().unwrap_or_default().to_owned(),
            method: method.to_owned(),
            identity: identity.map(read_identity).transpose()?,
            client,
        })
    }

    pub(crate) fn message(&self) -> Message<'_> {
        let entry = dialect::entry(&self.path).filter(|entry| entry.dialect == self.dialect);
        Message {
            dialect: self.dialect,
            kind: entry.and_then(|entry| entry.kind(&self.method)),
            method: &self.method,
            path: &self.path,
            headers: &self.headers,
            client: self.client,
            identity: self.identity.as_ref(),
            body: self.body.as_ref().map(Body::as_bytes),
        }
    }
}

/// Reads header fields from pairs or a mapping, of str or bytes.
fn read_headers(headers: &Bound<'_, PyAny>) -> PyResult<Vec<Header<'static>>> {
    let pairs = match headers.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.into_any(),
        Err(_) => headers.clone(),
    };
    let text = |object: &Bound<'_, PyAny>| -> PyResult<String> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            let bytes = bytes.as_bytes();
            // Field values are opaque bytes (RFC 9110, section 5.5). Values that are not UTF-8 are decoded as Latin-1.
            return Ok(std::str::from_utf8(bytes)
                .map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned));
        }
        object
            .extract::<String>()
            .map_err(|_| PyTypeError::new_err("header names and values are str or bytes"))
    };
    let mut out = Vec::new();
    for pair in pairs.try_iter()? {
        let (name, value) = pair_of(&pair?)?;
        out.push((Cow::Owned(text(&name)?.to_ascii_lowercase()), Cow::Owned(text(&value)?)));
    }
    Ok(out)
}

/// A header field's name and value. ASGI allows any iterable of two: uvicorn passes tuples, other servers lists.
pub(crate) fn pair_of<'py>(pair: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if let Ok(tuple) = pair.cast::<PyTuple>()
        && tuple.len() == 2
    {
        return Ok((tuple.get_item(0)?, tuple.get_item(1)?));
    }
    if let Ok(list) = pair.cast::<PyList>()
        && list.len() == 2
    {
        return Ok((list.get_item(0)?, list.get_item(1)?));
    }
    Err(PyTypeError::new_err("headers are (name, value) pairs"))
}

/// Reads an identity with the keys `tenant`, `agent`, `labels`; `None` means absent.
pub(crate) fn read_identity(identity: &Bound<'_, PyMapping>) -> PyResult<Identity> {
    let mut out = Identity::default();
    for item in identity.items()?.iter() {
        let (key, value): (String, Bound<'_, PyAny>) = item.extract()?;
        if value.is_none() {
            continue;
        }
        match key.as_str() {
            "tenant" => out.tenant = Some(value.extract()?),
            "agent" => out.agent = Some(value.extract()?),
            "labels" => {
                for label in value.cast::<PyMapping>()?.items()?.iter() {
                    out.labels.push(label.extract()?);
                }
            }
            other => {
                let message = format!("an identity has the keys tenant, agent and labels, not {other:?}");
                return Err(PyValueError::new_err(message));
            }
        }
    }
    Ok(out)
}
