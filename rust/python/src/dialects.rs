//! What there is of dialects, for what Python has of each.

use pyo3::prelude::*;
use waypost_core::dialect::{At, Dialect as Core, Kind};

/// A wire format that carries an envelope.
#[pyclass(frozen, get_all, module = "waypost._native")]
pub(crate) struct Dialect {
    /// Its name in configurations and patterns.
    name: &'static str,
    /// Clusters can speak it.
    clusters: bool,
    /// The paths to which its messages are sent. One that ends in `/*` stands for what is below.
    paths: Vec<String>,
}

#[pymethods]
impl Dialect {
    fn __repr__(&self) -> String {
        format!("<Dialect {}>", self.name)
    }
}

/// Every dialect.
#[pyfunction]
pub(crate) fn dialects() -> Vec<Dialect> {
    let of = |dialect: Core| {
        let spec = dialect.spec();
        let paths = spec.paths.iter().map(|path| match path.at {
            At::Exactly(path) => path.to_owned(),
            At::Below(begin) => format!("{begin}*"),
        });
        Dialect { name: spec.name, clusters: spec.clusters, paths: paths.collect() }
    };
    Core::ALL.into_iter().map(of).collect()
}

/// Which messages can be translated: the client's dialect, the cluster's, and the kinds.
#[pyfunction]
pub(crate) fn translations() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let of = |dialect: Core| {
        dialect.spec().translations.iter().map(move |found| {
            let kinds = found.kinds.iter().copied().map(Kind::name).collect();
            (dialect.name(), found.to.name(), kinds)
        })
    };
    Core::ALL.into_iter().flat_map(of).collect()
}
