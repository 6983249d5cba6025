//! What makes matching dear.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use waypost_core::table;

/// What rules cost beyond reading the document.
#[pyclass(frozen, get_all, module = "waypost._native")]
pub(crate) struct Cost {
    /// How many there are.
    rules: usize,
    /// Rules that are tried one by one, 128 or more for one message, the most first; empty where there are none.
    dear: Py<PyTuple>,
}

/// Rules that are tried one by one for some messages, because nothing that they ask for tells them apart.
#[pyclass(frozen, get_all, module = "waypost._native")]
pub(crate) struct DearRules {
    /// Which messages do: `kind is "model"`, or `every message`.
    when: String,
    /// The rules' names, in declaration order.
    rules: Py<PyTuple>,
}

impl Cost {
    pub(crate) fn of(
        py: Python<'_>,
        cost: &table::Cost,
        name: impl Fn(usize) -> Option<Py<PyString>>,
    ) -> PyResult<Self> {
        let dear = cost.dear.iter().map(|dear| {
            let names: Vec<_> = dear.rules.iter().filter_map(|number| name(*number)).collect();
            Py::new(py, DearRules { when: dear.when.clone(), rules: PyTuple::new(py, names)?.unbind() })
        });
        let dear = dear.collect::<PyResult<Vec<_>>>()?;
        Ok(Self { rules: cost.rules, dear: PyTuple::new(py, dear)?.unbind() })
    }
}

#[pymethods]
impl Cost {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Cost(rules={}, dear={})", self.rules, self.dear.bind(py).repr()?))
    }
}

#[pymethods]
impl DearRules {
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("DearRules(when={:?}, {} rules)", self.when, self.rules.bind(py).len())
    }
}
