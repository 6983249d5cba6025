//! `RouteFile`: the routes of one large file.

use std::sync::Arc;

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use waypost_core::pattern::Value;
use waypost_core::route_file;
use waypost_core::table::RouteSpec;

use crate::memory;

/// The routes of one large file. Plain ones are read at once; of the others, their text is known.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct RouteFile {
    file: Arc<route_file::RouteFile>,
}

impl RouteFile {
    fn of(file: route_file::RouteFile) -> Self {
        Self { file: Arc::new(file) }
    }

    /// Number of routes.
    pub(crate) fn len(&self) -> usize {
        self.file.len()
    }

    /// Copies of the routes, with the interpreter's lock released; those that are not plain are without a name.
    pub(crate) fn specs(&self, py: Python<'_>) -> Vec<RouteSpec> {
        let file = &self.file;
        py.detach(|| (0..file.len()).map(|at| file.spec(at).cloned().unwrap_or_default()).collect())
    }
}

impl Drop for RouteFile {
    fn drop(&mut self) {
        let routes = self.file.len();
        memory::free_aside(std::mem::take(&mut self.file), routes);
    }
}

#[pymethods]
impl RouteFile {
    /// Read a YAML file: its routes, and its text with an empty list of routes. `None` if it has something that only the
    /// complete reader knows.
    #[staticmethod]
    fn yaml(py: Python<'_>, text: &str) -> Option<(Self, String)> {
        let (file, rest) = py.detach(|| route_file::RouteFile::yaml(text))?;
        Some((Self::of(file), rest))
    }

    /// Read a file of JSON lines, one route in each line that is not blank.
    #[staticmethod]
    fn lines(py: Python<'_>, text: &str) -> Option<Self> {
        py.detach(|| route_file::RouteFile::lines(text)).map(Self::of)
    }

    /// Whether no two plain routes of `files`, and none of the names in `others`, have the same name.
    #[staticmethod]
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
    fn names_differ(py: Python<'_>, files: Vec<PyRef<'_, Self>>, others: Vec<String>) -> bool {
        let files: Vec<&route_file::RouteFile> = files.iter().map(|file| &*file.file).collect();
        py.detach(|| route_file::names_differ(&files, others.iter().map(String::as_str)))
    }

    fn __len__(&self) -> usize {
        self.len()
    }

    /// The positions of the routes that are not plain.
    fn others(&self) -> Vec<usize> {
        self.file.others().collect()
    }

    /// Line and column, from 0, and text of a route.
    fn written(&self, at: usize) -> PyResult<(u32, u32, &str)> {
        let (place, text) = self.file.written(at).ok_or_else(|| PyIndexError::new_err(at))?;
        Ok((place.line, place.column, text))
    }

    /// The keys of a plain route; `None` for another one.
    fn route<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(spec) = self.file.spec(at) else { return Ok(None) };
        let route = PyDict::new(py);
        route.set_item("name", &spec.name)?;
        route.set_item("match", plain(py, &spec.pattern)?)?;
        route.set_item("to", &spec.to)?;
        route.set_item("fallback", &spec.fallback)?;
        route.set_item("precedence", spec.precedence)?;
        Ok(Some(route))
    }

    /// The clusters that plain routes name, each once.
    fn clusters(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| self.file.clusters().into_iter().map(str::to_owned).collect())
    }
}

/// A value of a plain route.
fn plain<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null | Value::Unknown => py.None().into_bound(py),
        Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        // A number of a plain route has few digits.
        Value::Number(text) => text.parse::<i64>().unwrap_or_default().into_pyobject(py)?.into_any(),
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::List(items) => {
            let items = items.iter().map(|item| plain(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Map(entries) => {
            let dict = PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(key, plain(py, value)?)?;
            }
            dict.into_any()
        }
    })
}
