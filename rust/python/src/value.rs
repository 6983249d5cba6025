//! Converts Python objects to pattern values.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyEllipsis, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use waypost_core::pattern::{MAX_NESTING, Problem, Step, Value};

/// The recursion limit. It is deeper than any valid pattern, so that the core reports the nesting.
const DEPTH: usize = 4 * MAX_NESTING;

/// The most values of a pattern. An object that appears several times counts each time.
const VALUES: usize = 1 << 20;

/// Reads a pattern from Python objects: mappings, lists, tuples, str, int, float, `decimal.Decimal`, bool, None.
/// A float has the value of its `repr`. With `partial`, an ellipsis stands for an unknown value.
///
/// Returns the values that could be read, and a problem, with its path within the pattern, for each that could not.
pub(crate) fn read(object: &Bound<'_, PyAny>, partial: bool) -> PyResult<(Value, Vec<Problem>)> {
    let mut reader = Reader { path: Vec::new(), remaining: VALUES + 1, partial, problems: Vec::new() };
    Ok((reader.convert(object)?, reader.problems))
}

/// A key and its value.
type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

struct Reader {
    /// Path of the current value.
    path: Vec<Step>,
    /// Number of further values allowed.
    remaining: usize,
    partial: bool,
    problems: Vec<Problem>,
}

impl Reader {
    fn problem(&mut self, message: impl Into<String>) -> Value {
        self.problems.push(Problem { path: self.path.clone(), message: message.into() });
        Value::Unknown
    }

    fn convert(&mut self, object: &Bound<'_, PyAny>) -> PyResult<Value> {
        if self.path.len() > DEPTH {
            return Ok(self.problem("nested too deeply"));
        }
        self.remaining = self.remaining.saturating_sub(1);
        if self.remaining == 0 {
            return Ok(self.problem(format!("a pattern has at most {VALUES} values")));
        }
        if object.is_none() {
            return Ok(Value::Null);
        }
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(match text.to_str() {
                Ok(text) => Value::String(text.to_owned()),
                Err(_) => self.problem("contains half of a surrogate pair, which JSON cannot"),
            });
        }
        if let Ok(value) = object.cast::<PyBool>() {
            return Ok(Value::Bool(value.is_true()));
        }
        if object.is_instance_of::<PyInt>() {
            // An enum's own repr is not its number; int's repr rejects numbers of thousands of digits.
            let plain = object.py().get_type::<PyInt>().call_method1("__repr__", (object,));
            return match plain {
                Ok(text) => Ok(Value::Number(text.extract()?)),
                Err(error) if error.is_instance_of::<PyValueError>(object.py()) => {
                    Ok(self.problem("has more digits than Python writes: use a decimal.Decimal"))
                }
                Err(error) => Err(error),
            };
        }
        if let Ok(number) = object.cast::<PyFloat>() {
            if !number.value().is_finite() {
                return Ok(self.problem("is not a number that JSON can hold"));
            }
            let text = object.py().get_type::<PyFloat>().call_method1("__repr__", (object,))?;
            return Ok(Value::Number(text.extract()?));
        }
        if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
            return self.sequence(object);
        }
        if let Ok(dict) = object.cast::<PyDict>() {
            // Copy the items: converting a value may run Python code that changes the dict.
            let pairs: PyResult<Vec<Pair<'_>>> = dict.items().iter().map(|pair| pair.extract()).collect();
            return self.mapping(pairs?);
        }
        if let Ok(other) = object.cast::<PyMapping>() {
            let items = other.items()?;
            let pairs: PyResult<Vec<Pair<'_>>> = items.iter().map(|pair| pair.extract()).collect();
            return self.mapping(pairs?);
        }
        if self.partial && object.is_instance_of::<PyEllipsis>() {
            return Ok(Value::Unknown);
        }
        let kind = object.get_type().qualname()?.to_string();
        if kind == "Decimal" {
            return Ok(Value::Number(object.str()?.extract()?));
        }
        Ok(self.problem(format!(
            "patterns are made of mappings, lists, strings, numbers, booleans and None, not of {kind}"
        )))
    }

    fn sequence(&mut self, object: &Bound<'_, PyAny>) -> PyResult<Value> {
        let mut out = Vec::new();
        for (index, item) in object.try_iter()?.enumerate() {
            if self.remaining == 0 {
                break;
            }
            self.path.push(Step::Index(index));
            out.push(self.convert(&item?)?);
            self.path.pop();
        }
        Ok(Value::List(out))
    }

    fn mapping(&mut self, items: Vec<Pair<'_>>) -> PyResult<Value> {
        let mut out = Vec::new();
        let has_items = !items.is_empty();
        for (key, value) in items {
            if self.remaining == 0 {
                break;
            }
            let text = key.cast::<PyString>().ok().map(|text| text.to_str().map(str::to_owned));
            let Some(Ok(key)) = text else {
                let wrong =
                    if text.is_none() { "is not a string" } else { "contains half of a surrogate pair" };
                self.problem(format!("the key {} {wrong}", key.repr()?));
                continue;
            };
            self.path.push(Step::Key(key.clone()));
            out.push((key, self.convert(&value)?));
            self.path.pop();
        }
        // If no key could be read, an empty mapping would cause a misleading problem.
        Ok(if out.is_empty() && has_items { Value::Unknown } else { Value::Map(out) })
    }
}
