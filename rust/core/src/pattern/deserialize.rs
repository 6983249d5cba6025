//! serde reads a [`Value`], so that a struct says by its fields what a mapping may hold.

use serde::de::value::{Error, MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::Value;

/// Reads a value. `null` is absence; a number that is too large or too exact for the type wanted loses what does not fit
/// where it is a float, and is an error where it is an integer.
#[derive(Clone, Copy)]
pub struct Reader<'de>(&'de Value);

impl<'de> IntoDeserializer<'de, Error> for &'de Value {
    type Deserializer = Reader<'de>;

    fn into_deserializer(self) -> Reader<'de> {
        Reader(self)
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(text) => {
                if let Ok(number) = text.parse::<u64>() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = text.parse::<i64>() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(text.parse().map_err(Error::custom)?)
                }
            }
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Map(pairs) => visitor.visit_map(entries(pairs)),
            Value::Unknown => Err(Error::custom("something unknown")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if matches!(self.0, Value::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A variant is a word, or a mapping of it to what it holds.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(word) => IntoDeserializer::<Error>::into_deserializer(word.as_str())
                .deserialize_enum(name, variants, visitor),
            Value::Map(pairs) => visitor.visit_enum(MapAccessDeserializer::new(entries(pairs))),
            other => Err(Error::custom(format_args!("{name} is no {}", other.describe()))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

fn entries(pairs: &[(String, Value)]) -> MapDeserializer<'_, impl Iterator<Item = (&str, &Value)>, Error> {
    MapDeserializer::new(pairs.iter().map(|(key, value)| (key.as_str(), value)))
}
