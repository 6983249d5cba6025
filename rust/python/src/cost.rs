//! `Cost`: rules that make matching linear in their number.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use waypost_core::table;

/// What rules cost beyond reading the document.
#[pyclass(frozen, get_all, module = "waypost._native")]
pub(crate) struct Cost {
    /// Number of rules.
    rules: usize,
    /// Groups of rules that are tried one by one, largest first; only groups of at least 128 rules are listed.
    linear: Py<PyTuple>,
}

/// Rules that are tried one by one for some messages, because the index cannot tell them apart.
#[pyclass(frozen, get_all, module = "waypost._native")]
pub(crate) struct LinearRules {
    /// The messages concerned: `kind is "model"`, for example, or `every message`.
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
        let linear = cost.linear.iter().map(|linear| {
            let names: Vec<_> = linear.rules.iter().filter_map(|number| name(*number)).collect();
            Py::new(py, LinearRules { when: linear.when.clone(), rules: PyTuple::new(py, names)?.unbind() })
        });
        let linear = linear.collect::<PyResult<Vec<_>>>()?;
        Ok(Self { rules: cost.rules, linear: PyTuple::new(py, linear)?.unbind() })
    }
}

#[pymethods]
impl Cost {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Cost(rules={}, linear={})", self.rules, self.linear.bind(py).repr()?))
    }
}

#[pymethods]
impl LinearRules {
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("LinearRules(when={:?}, {} rules)", self.when, self.rules.bind(py).len())
    }
}
