//! The PyO3 binding of `waypost-core`, and nothing else.
use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {}
