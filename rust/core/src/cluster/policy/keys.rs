//! How the keys of a policy are written: each once, with its description, its default and its bounds.

use std::time::Duration;

/// The longest time that any key takes: a day.
pub(super) const LONGEST: Duration = Duration::from_secs(86_400);
/// The most that any number of messages, attempts or keys may be.
pub(super) const MOST: u32 = 1_000_000;

/// A mapping of a cluster's policy whose keys have descriptions and defaults.
pub trait Section: Default + serde::Serialize {
    /// The path of the mapping from the cluster, with dots.
    const PATH: &'static str;

    /// Each key with its description for users. Unusual bounds are part of the description.
    fn descriptions() -> Vec<(&'static str, String)>;

    /// Each key whose value is out of its bounds, and what is wrong with the value.
    fn out_of_bounds(&self) -> Vec<(&'static str, String)>;
}

/// Defines sections. A field is `name ["key"]: Type as "module" = default, bounds;`: its doc comment is the description
/// that users read in the reference and the schema. The key is the field's name unless it is given; serde reads and
/// writes the value with the module, if any.
macro_rules! sections {
    ($(
        $(#[doc = $about:literal])+
        pub struct $name:ident($path:literal) $(: $($derive:ident),+)? {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $([$key:literal])?: $type:ty $(as $with:literal)? = $default:expr, $bounds:expr;
            )+
        }
    )+) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize $($(, $derive)+)?)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`; bounds: `", stringify!($bounds), "`.")]
                $(#[serde(rename = $key)])?
                $(#[serde(with = $with)])?
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl $crate::cluster::policy::Section for $name {
            const PATH: &'static str = $path;

            fn descriptions() -> Vec<(&'static str, String)> {
                vec![$((
                    key_name!($field $($key)?),
                    $crate::cluster::policy::keys::described::<$type>(concat!($($doc),+), &$bounds),
                )),+]
            }

            fn out_of_bounds(&self) -> Vec<(&'static str, String)> {
                use $crate::cluster::policy::keys::Bounds;

                let keys = [$((key_name!($field $($key)?), Bounds::<$type>::problem(&$bounds, &self.$field))),+];
                keys.into_iter().filter_map(|(key, problem)| Some((key, problem?))).collect()
            }
        }
    )+};
}

/// The key of a field.
macro_rules! key_name {
    ($field:ident $key:literal) => {
        $key
    };
    ($field:ident) => {
        stringify!($field)
    };
}

pub(super) use {key_name, sections};

/// A description with its bounds at the end, where they are unusual.
pub(super) fn described<T>(text: &str, bounds: &impl Bounds<T>) -> String {
    match bounds.unusual() {
        Some(bounds) => format!("{}; {bounds}.", text.trim().trim_end_matches('.')),
        None => text.trim().to_owned(),
    }
}

/// What a value may be.
pub(super) trait Bounds<T> {
    /// What is wrong with a value.
    fn problem(&self, value: &T) -> Option<String>;

    /// The bounds in words, where they are not those of most keys of the kind.
    fn unusual(&self) -> Option<String>;
}

/// Any value of the type, as far as this goes.
pub(super) struct Any;

impl<T> Bounds<T> for Any {
    fn problem(&self, _: &T) -> Option<String> {
        None
    }

    fn unusual(&self) -> Option<String> {
        None
    }
}

/// A number from the first to the second.
pub(super) struct Count(pub(super) u32, pub(super) u32);

impl Bounds<u32> for Count {
    fn problem(&self, value: &u32) -> Option<String> {
        let Self(least, most) = *self;
        (!(least..=most).contains(value)).then(|| format!("must be from {least} to {most}, not {value}"))
    }

    fn unusual(&self) -> Option<String> {
        match *self {
            Self(..=1, MOST) => None,
            Self(least, MOST) => Some(format!("at least {least}")),
            Self(least, most) => Some(format!("{least} to {most}")),
        }
    }
}

/// Per cent, at most as many.
pub(super) struct Percent(pub(super) u32);

impl Bounds<u32> for Percent {
    fn problem(&self, value: &u32) -> Option<String> {
        let Self(most) = *self;
        (*value > most).then(|| format!("must be from 0% to {most}%, not {value}%"))
    }

    fn unusual(&self) -> Option<String> {
        (self.0 != 100).then(|| format!("up to {}%", self.0))
    }
}

/// A percentile from the first to the second.
pub(super) struct Percentile(pub(super) u32, pub(super) u32);

impl Bounds<u32> for Percentile {
    fn problem(&self, value: &u32) -> Option<String> {
        let Self(least, most) = *self;
        (!(least..=most).contains(value)).then(|| format!("must be from p{least} to p{most}, not p{value}"))
    }

    fn unusual(&self) -> Option<String> {
        Some(format!("p{} to p{}", self.0, self.1))
    }
}

/// A factor from the first to the second.
pub(super) struct Factor(pub(super) f64, pub(super) f64);

impl Bounds<f64> for Factor {
    fn problem(&self, value: &f64) -> Option<String> {
        let Self(least, most) = *self;
        // Not-a-number is in no range.
        (!(least..=most).contains(value)).then(|| format!("must be from {least} to {most}, not {value}"))
    }

    fn unusual(&self) -> Option<String> {
        Some(format!("{} to {}", self.0, self.1))
    }
}

/// A time from as many milliseconds to [`LONGEST`].
pub(super) struct AtLeast(pub(super) u64);

impl Bounds<Duration> for AtLeast {
    fn problem(&self, value: &Duration) -> Option<String> {
        let least = Duration::from_millis(self.0);
        if (least..=LONGEST).contains(value) {
            None
        } else if value.is_zero() {
            Some("must be greater than zero".to_owned())
        } else {
            Some(format!("must be from {} to {}, not {}", shown(least), shown(LONGEST), shown(*value)))
        }
    }

    fn unusual(&self) -> Option<String> {
        (self.0 > 1).then(|| format!("at least {}", shown(Duration::from_millis(self.0))))
    }
}

impl Bounds<Option<Duration>> for AtLeast {
    fn problem(&self, value: &Option<Duration>) -> Option<String> {
        value.as_ref().and_then(|value| self.problem(value))
    }

    fn unusual(&self) -> Option<String> {
        Bounds::<Duration>::unusual(self)
    }
}

/// A time as a configuration has it.
fn shown(length: Duration) -> String {
    let (seconds, part) = (length.as_secs(), length.subsec_nanos());
    if seconds > 0 && seconds.is_multiple_of(3600) && part == 0 {
        format!("{}h", seconds / 3600)
    } else {
        format!("{length:?}")
    }
}

/// A time as seconds.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(
        length: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(length.as_secs_f64())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A time as seconds, or none.
pub(super) mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[allow(clippy::ref_option)] // serde's signature.
    pub(in super::super) fn serialize<S: Serializer>(
        length: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        length.map(|length| length.as_secs_f64()).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds: Option<f64> = Option::deserialize(deserializer)?;
        seconds.map(|seconds| Duration::try_from_secs_f64(seconds).map_err(D::Error::custom)).transpose()
    }
}
