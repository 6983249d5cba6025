//! The trace of a message (W3C Trace Context, level 1: <https://www.w3.org/TR/trace-context-1/>).
//!
//! 1. A valid `traceparent` is passed on: the same trace and sampling, with a new parent, the span of this hop.
//! 2. Without a valid `traceparent`, a new trace begins. It is not sampled: systems that record traces decide that.
//! 3. `tracestate` is passed on only with a valid `traceparent` (section 3.3).

use super::id::{Ids, hex};
use super::intake::Request;

/// The field that names the trace.
pub(super) const PARENT: &str = "traceparent";
/// The field with vendors' data about the trace.
pub(super) const STATE: &str = "tracestate";

/// The only flag of this level of the standard.
const SAMPLED: u8 = 1;

/// A trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// 32 hexadecimal digits in lower case.
    id: [u8; 32],
    sampled: bool,
    /// Whether the trace came from the client.
    pub(super) passed_on: bool,
}

impl Trace {
    /// The trace of a request, or a new one.
    pub(super) fn of(request: &Request, ids: &Ids) -> Self {
        let mut fields = request.fields(PARENT);
        let sent = match (fields.next(), fields.next()) {
            (Some(value), None) => parse(value),
            _ => None,
        };
        match sent {
            Some((id, flags)) => Self { id, sampled: flags & SAMPLED != 0, passed_on: true },
            None => Self { id: ids.digits(), sampled: false, passed_on: false },
        }
    }

    /// The trace's id, 32 hexadecimal digits in lower case.
    pub(super) fn id(&self) -> &str {
        std::str::from_utf8(&self.id).unwrap_or_default()
    }

    /// `traceparent` for the next hop, with a new span as its parent.
    pub(super) fn parent(&self, ids: &Ids) -> [u8; 55] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        if let Some(id) = out.get_mut(3..35) {
            id.copy_from_slice(&self.id);
        }
        if let Some(span) = out.get_mut(36..52) {
            span.copy_from_slice(&hex(ids.number().max(1))); // A span id must not be zero.
        }
        if let Some(flags) = out.last_mut() {
            *flags += u8::from(self.sampled);
        }
        out
    }
}

/// Parses the trace and the flags of a `traceparent` of version 00, or of a later version, which begins the same way (section
/// 3.2).
fn parse(value: &[u8]) -> Option<([u8; 32], u8)> {
    let (parent, rest) = value.split_at_checked(55)?;
    let [v0, v1, b'-', ids @ .., b'-', f0, f1] = parent else { return None };
    let (trace, span) = ids.split_at_checked(32)?;
    let (dash, span) = span.split_first()?;
    let (version, flags) = (byte(*v0, *v1)?, byte(*f0, *f1)?);
    let known = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.first().is_none_or(|first| *first == b'-'),
    };
    (known && *dash == b'-' && is_id(trace) && is_id(span)).then_some(())?;
    Some((trace.try_into().ok()?, flags))
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
        for (value, flags) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 1),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", 0),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", 255),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-09", 9),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-will-be-like", 1),
        ] {
            assert_eq!(parse(value.as_bytes()), Some((*TRACE, flags)), "{value}");
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
        fn never_what_could_not_be_sent_on(value in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some((id, _)) = parse(&value) {
                prop_assert!(id.iter().all(u8::is_ascii_hexdigit));
            }
        }

        #[test]
        fn what_is_sent_on_is_valid(seed: u64, sampled: bool) {
            let trace = Trace { id: *TRACE, sampled, passed_on: true };
            let parent = trace.parent(&Ids::new(seed));
            prop_assert_eq!(parse(&parent), Some((*TRACE, u8::from(sampled))));
        }
    }
}
