//! Policies of clusters, from and to mappings with the keys of a configuration.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pythonize::pythonize;
use waypost_core::cluster::policy::{
    Adaptive, Breaker, Check, Health, Hedge, Policy, Queue, Rate, Retry, Section, Timeout,
};

use crate::value;

/// The policy of a cluster whose keys have the right shape; see [`Policy::read`]. An ellipsis stands for what is not known.
pub(crate) fn read(cluster: &Bound<'_, PyDict>) -> PyResult<Policy> {
    let (cluster, problems) = value::read(cluster, true)?;
    if let Some(problem) = problems.first() {
        return Err(PyValueError::new_err(problem.to_string()));
    }
    Policy::read(&cluster).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// All of a policy, or of a part of it, as `read` takes it.
pub(crate) fn view<'py>(py: Python<'py>, policy: &impl serde::Serialize) -> PyResult<Bound<'py, PyDict>> {
    Ok(pythonize(py, policy)?.cast_into()?)
}

/// The keys of each mapping in a cluster's policy: by the mapping's path from the cluster, with dots, and the key's name,
/// the description and the default.
///
/// Times are in seconds, percentages and percentiles whole numbers. Defaults of `rate` stand for what is not known.
#[pyfunction]
pub(crate) fn policy_keys(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    add::<Timeout>(&out)?;
    add::<Retry>(&out)?;
    add::<Health>(&out)?;
    add::<Check>(&out)?;
    add::<Breaker>(&out)?;
    add::<Adaptive>(&out)?;
    add::<Queue>(&out)?;
    add::<Rate>(&out)?;
    add::<Hedge>(&out)?;
    Ok(out)
}

fn add<T: Section>(out: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = out.py();
    let defaults = view(py, &T::default())?;
    let keys = PyDict::new(py);
    for (key, description) in T::descriptions() {
        keys.set_item(key, (description, defaults.get_item(key)?))?;
    }
    out.set_item(T::PATH, keys)
}
