//! The PyO3 binding of `waypost-core`. It converts arguments, calls the core, and converts results to objects and
//! exceptions. It also supplies what the core lacks: random seeds and the time.
//!
//! The contract and its documentation are in `python/waypost/_native.pyi`.

mod account;
mod body;
mod certificate;
mod clock;
mod cluster_config;
mod compiled;
mod cost;
mod course;
mod dialects;
mod endpoint;
mod errors;
mod explanation;
mod http1;
mod intake;
mod matcher;
mod memory;
mod message;
mod names;
mod plan;
mod policy;
mod recorder;
mod registry;
mod renewal;
mod request;
mod route_file;
mod route_table;
mod snapshot;
mod translate;
mod value;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::certificate::Certificate;
    #[pymodule_export]
    use crate::cost::{Cost, LinearRules};
    #[pymodule_export]
    use crate::course::{Step, Turn};
    #[pymodule_export]
    use crate::dialects::{Dialect, dialects, translations};
    #[pymodule_export]
    use crate::endpoint::{Cluster, Endpoint};
    #[pymodule_export]
    use crate::explanation::{Decision, Explanation, Reply, Verdict};
    #[pymodule_export]
    use crate::http1::{ResponseEnd, ResponseHead, ResponseReader, encode_chunk};
    #[pymodule_export]
    use crate::intake::Intake;
    #[pymodule_export]
    use crate::matcher::Matcher;
    #[pymodule_export]
    use crate::plan::Plan;
    #[pymodule_export]
    use crate::policy::policy_keys;
    #[pymodule_export]
    use crate::recorder::Recorder;
    #[pymodule_export]
    use crate::registry::Registry;
    #[pymodule_export]
    use crate::request::{BodyReader, RequestHead, RequestReader, encode_id};
    #[pymodule_export]
    use crate::route_file::RouteFile;
    #[pymodule_export]
    use crate::route_table::RouteTable;
    #[pymodule_export]
    use crate::snapshot::{Snapshot, reseed_ids};
    #[pymodule_export]
    use crate::translate::{ModelStream, translate_reply, translate_request};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
