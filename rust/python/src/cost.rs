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
    /// Groups of rules with conditions that are compared with each value of one field, one by one.
    ///
    /// Only groups of more than 16 conditions are listed. A document with very many such values is `too_costly`.
    per_value: Py<PyTuple>,
}

/// Rules that are tried one by one for some messages, or that are compared with each value of a field.
#[pyclass(frozen, get_all, module = "waypost._native")]
pub(crate) struct LinearRules {
    /// The messages concerned (`kind is "model"`, or `every message`), or the values: `each value of items.size`.
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
        let groups = |groups: &[table::Linear]| -> PyResult<Py<PyTuple>> {
            let named = groups.iter().map(|group| {
                let names: Vec<_> = group.rules.iter().filter_map(|number| name(*number)).collect();
                let rules = PyTuple::new(py, names)?.unbind();
                Py::new(py, LinearRules { when: group.when.clone(), rules })
            });
            Ok(PyTuple::new(py, named.collect::<PyResult<Vec<_>>>()?)?.unbind())
        };
        Ok(Self { rules: cost.rules, linear: groups(&cost.linear)?, per_value: groups(&cost.per_value)? })
    }
}

#[pymethods]
impl Cost {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let [linear, per_value] = [&self.linear, &self.per_value].map(|groups| groups.bind(py).repr());
        Ok(format!("Cost(rules={}, linear={}, per_value={})", self.rules, linear?, per_value?))
    }
}

#[pymethods]
impl LinearRules {
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("LinearRules(when={:?}, {} rules)", self.when, self.rules.bind(py).len())
    }
}
