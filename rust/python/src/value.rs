//! Python objects as pattern values.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use waypost_core::pattern::{MAX_NESTING, Problem, Step, Value};

/// Deeper than any pattern can be: the core gives the error that says so.
const DEPTH: usize = 4 * MAX_NESTING;

/// How many values a pattern may have: one object that stands in it again and again counts each time.
const VALUES: usize = 1 << 20;

/// Reads a pattern from Python objects: mappings, lists, tuples, str, int, float, `decimal.Decimal`, bool, None.
/// Floats count as their `repr`.
pub(crate) fn read(object: &Bound<'_, PyAny>) -> PyResult<Result<Value, Problem>> {
    let mut reader = Reader { path: Vec::new(), left: VALUES };
    Ok(reader.convert(object)?.map_err(|message| Problem { path: reader.path, message }))
}

/// A key and its value.
type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

struct Reader {
    /// The way to here.
    path: Vec<Step>,
    /// How many more values there may be.
    left: usize,
}

impl Reader {
    /// The value, or what is wrong with it; then `path` leads to the fault.
    fn convert(&mut self, object: &Bound<'_, PyAny>) -> PyResult<Result<Value, String>> {
        if self.path.len() > DEPTH {
            return Ok(Err("nested too deeply".to_owned()));
        }
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(Err(format!("a pattern has at most {VALUES} values")));
        };
        self.left = left;
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
            return self.sequence(object);
        }
        if let Ok(dict) = object.cast::<PyDict>() {
            // A copy: converting a value may run Python code, which may change the dict.
            let pairs: PyResult<Vec<Pair<'_>>> = dict.items().iter().map(|pair| pair.extract()).collect();
            return self.mapping(pairs?);
        }
        if let Ok(other) = object.cast::<PyMapping>() {
            let items = other.items()?;
            let pairs: PyResult<Vec<Pair<'_>>> = items.iter().map(|pair| pair.extract()).collect();
            return self.mapping(pairs?);
        }
        let kind = object.get_type().qualname()?.to_string();
        if kind == "Decimal" {
            return Ok(Ok(Value::Number(object.str()?.extract()?)));
        }
        Ok(Err(format!(
            "patterns are made of mappings, lists, strings, numbers, booleans and None, not of {kind}"
        )))
    }

    fn sequence(&mut self, object: &Bound<'_, PyAny>) -> PyResult<Result<Value, String>> {
        let mut out = Vec::new();
        for (index, item) in object.try_iter()?.enumerate() {
            self.path.push(Step::Index(index));
            match self.convert(&item?)? {
                Ok(value) => out.push(value),
                Err(message) => return Ok(Err(message)),
            }
            self.path.pop();
        }
        Ok(Ok(Value::List(out)))
    }

    fn mapping(&mut self, items: Vec<Pair<'_>>) -> PyResult<Result<Value, String>> {
        let mut out = Vec::new();
        for (key, value) in items {
            let Ok(text) = key.cast::<PyString>() else {
                return Ok(Err(format!("the key {} is not a string", key.repr()?)));
            };
            let Ok(key) = text.to_str().map(str::to_owned) else {
                return Ok(Err(format!("the key {} holds half of a surrogate pair", key.repr()?)));
            };
            self.path.push(Step::Key(key.clone()));
            match self.convert(&value)? {
                Ok(value) => out.push((key, value)),
                Err(message) => return Ok(Err(message)),
            }
            self.path.pop();
        }
        Ok(Ok(Value::Map(out)))
    }
}
