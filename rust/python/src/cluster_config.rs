//! Reads clusters of a configuration whose shape was checked.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use waypost_core::cluster::{self, Credential};
use waypost_core::dialect::Dialect;
use waypost_core::pattern::{Problem, Step};

use crate::policy;
use crate::route_table::item;

/// Reads one cluster. Invalid URLs are added to `problems`; the core checks the meaning of everything else.
pub(crate) fn read_cluster(
    name: String,
    cluster: &Bound<'_, PyDict>,
    problems: &mut Vec<Problem>,
) -> PyResult<cluster::Cluster> {
    let speaks: String = item(cluster, "speaks")?.extract()?;
    let speaks = Dialect::parse(&speaks)
        .ok_or_else(|| PyValueError::new_err(format!("there is no dialect {speaks:?}")))?;
    let mut endpoints = Vec::new();
    for (index, endpoint) in item(cluster, "endpoints")?.try_iter()?.enumerate() {
        let endpoint = endpoint?.cast_into::<PyDict>()?;
        let url: String = item(&endpoint, "url")?.extract()?;
        match cluster::Endpoint::parse(&url, item(&endpoint, "weight")?.extract()?) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(message) => {
                let path = ["clusters", &name, "endpoints"].map(|key| Step::Key(key.to_owned())).into_iter();
                problems.push(Problem { path: path.chain([Step::Index(index)]).collect(), message });
            }
        }
    }
    let credential = item(cluster, "credential")?;
    let credential = if credential.is_none() {
        Credential::None
    } else if let Ok(header) = credential.cast::<PyDict>() {
        Credential::Header {
            name: item(header, "header")?.extract()?,
            value: item(header, "value")?.extract()?,
        }
    } else {
        Credential::Pass
    };
    let model = item(cluster, "model")?.extract()?;
    let policy = policy::read(cluster)?;
    Ok(cluster::Cluster { name, speaks, endpoints, credential, model, policy })
}
