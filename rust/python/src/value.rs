//! Python objects as pattern values.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use waypost_core::pattern::{MAX_NESTING, Problem, Step, Value};

/// Deeper than any pattern can be: the core gives the error that says so.
const DEPTH: usize = 4 * MAX_NESTING;

/// Reads a pattern from Python objects: mappings, lists, tuples, str, int, float, `decimal.Decimal`, bool, None.
/// Floats count as their `repr`.
pub(crate) fn read(object: &Bound<'_, PyAny>) -> PyResult<Result<Value, Problem>> {
    let mut path = Vec::new();
    Ok(convert(object, &mut path)?.map_err(|message| Problem { path, message }))
}

/// The value, or what is wrong with it; then `path` leads to the fault.
fn convert(object: &Bound<'_, PyAny>, path: &mut Vec<Step>) -> PyResult<Result<Value, String>> {
    if path.len() > DEPTH {
        return Ok(Err("nested too deeply".to_owned()));
    }
    if object.is_none() {
        return Ok(Ok(Value::Null));
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(match text.to_str() {
            Ok(text) => Ok(Value::String(text.to_owned())),
            Err(_) => Err("holds half of a surrogate pair, which no JSON document can".to_owned()),
        });
    }
    if let Ok(value) = object.cast::<PyBool>() {
        return Ok(Ok(Value::Bool(value.is_true())));
    }
    if object.is_instance_of::<PyInt>() {
        // An enum's repr is not its number, and int's own repr refuses thousands of digits.
        let plain = object.py().get_type::<PyInt>().call_method1("__repr__", (object,));
        return match plain {
            Ok(text) => Ok(Ok(Value::Number(text.extract()?))),
            Err(error) if error.is_instance_of::<PyValueError>(object.py()) => {
                Ok(Err("has more digits than Python writes".to_owned()))
            }
            Err(error) => Err(error),
        };
    }
    if let Ok(number) = object.cast::<PyFloat>() {
        if !number.value().is_finite() {
            return Ok(Err("is no number that JSON can hold".to_owned()));
        }
        let text = object.py().get_type::<PyFloat>().call_method1("__repr__", (object,))?;
        return Ok(Ok(Value::Number(text.extract()?)));
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        return sequence(object, path);
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        return mapping(dict.iter(), path);
    }
    if let Ok(other) = object.cast::<PyMapping>() {
        let items = other.items()?;
        let pairs: PyResult<Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>> =
            items.iter().map(|pair| pair.extract()).collect();
        return mapping(pairs?.into_iter(), path);
    }
    let kind = object.get_type().qualname()?.to_string();
    if kind == "Decimal" {
        return Ok(Ok(Value::Number(object.str()?.extract()?)));
    }
    Ok(Err(format!(
        "patterns are made of mappings, lists, strings, numbers, booleans and None, not of {kind}"
    )))
}

fn sequence(object: &Bound<'_, PyAny>, path: &mut Vec<Step>) -> PyResult<Result<Value, String>> {
    let mut out = Vec::new();
    for (index, item) in object.try_iter()?.enumerate() {
        path.push(Step::Index(index));
        match convert(&item?, path)? {
            Ok(value) => out.push(value),
            Err(message) => return Ok(Err(message)),
        }
        path.pop();
    }
    Ok(Ok(Value::List(out)))
}

fn mapping<'py>(
    items: impl Iterator<Item = (Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    path: &mut Vec<Step>,
) -> PyResult<Result<Value, String>> {
    let mut out = Vec::new();
    for (key, value) in items {
        let Ok(Ok(key)) = key.cast::<PyString>().map(|key| key.to_str().map(str::to_owned)) else {
            return Ok(Err(format!("the key {} is not a string", key.repr()?)));
        };
        path.push(Step::Key(key.clone()));
        match convert(&value, path)? {
            Ok(value) => out.push((key, value)),
            Err(message) => return Ok(Err(message)),
        }
        path.pop();
    }
    Ok(Ok(Value::Map(out)))
}
