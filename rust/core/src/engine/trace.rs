//! The trace of a message (W3C Trace Context, level 1: <https://www.w3.org/TR/trace-context-1/>).
//!
//! Waypost records no spans, so it takes no part in a trace:
//!
//! 1. A valid `traceparent` is passed on as it came, and `tracestate` with it. A parent of Waypost's own would be one that no
//!    system ever recorded, and the trace would fall apart at it.
//! 2. Without a valid `traceparent`, the endpoint gets neither. A new one would have to say whether the trace is sampled. A
//!    "no" would make an endpoint with the default sampler of OpenTelemetry drop its own trace.
//! 3. A `traceparent` that came twice, or that is malformed, is not passed on: two readers could take it for two traces.

use super::intake::Request;

/// The field that names the trace.
pub(super) const PARENT: &str = "traceparent";
/// The field with vendors' data about the trace.
pub(super) const STATE: &str = "tracestate";

/// The trace that a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// 32 hexadecimal digits in lower case.
    id: [u8; 32],
}

impl Trace {
    /// The trace of a request, if it names one.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let mut fields = request.fields(PARENT);
        match (fields.next(), fields.next()) {
            (Some(value), None) => parse(value).map(|id| Self { id }),
            _ => None,
        }
    }

    /// The trace's id, 32 hexadecimal digits in lower case.
    pub(super) fn id(&self) -> &str {
        std::str::from_utf8(&self.id).unwrap_or_default()
    }
}

/// Parses the trace of a `traceparent` of version 00, or of a later version, which begins the same way (section 3.2).
fn parse(value: &[u8]) -> Option<[u8; 32]> {
    let (parent, rest) = value.split_at_checked(55)?;
    let [v0, v1, b'-', ids @ .., b'-', f0, f1] = parent else { return None };
    let (trace, span) = ids.split_at_checked(32)?;
    let (dash, span) = span.split_first()?;
    byte(*f0, *f1)?; // The flags.
    let known = match byte(*v0, *v1)? {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.first().is_none_or(|first| *first == b'-'),
    };
    (known && *dash == b'-' && is_id(trace) && is_id(span)).then_some(())?;
    trace.try_into().ok()
}

/// Whether all bytes are hexadecimal digits in lower case, and not all are zero.
fn is_id(digits: &[u8]) -> bool {
    digits.iter().all(|&byte| digit(byte).is_some()) && digits.iter().any(|&byte| byte != b'0')
}

fn byte(high: u8, low: u8) -> Option<u8> {
    Some(digit(high)? << 4 | digit(low)?)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &[u8; 32] = b"0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn valid() {
        for value in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-09",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-will-be-like",
        ] {
            assert_eq!(parse(value.as_bytes()), Some(*TRACE), "{value}");
        }
    }

    /// The cases of the standard's own test suite.
    #[test]
    fn not_valid() {
        for value in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-010",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0X",
            "00-.af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "000-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        ] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_one_that_can_be_logged(value in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(id) = parse(&value) {
                prop_assert!(id.iter().all(u8::is_ascii_hexdigit));
            }
        }
    }
}
