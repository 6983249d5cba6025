//! Message ids.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hash::mix;
use crate::table::MAX_ID;

/// Makes ids and seeds that are unique, but not secret.
#[derive(Debug)]
pub struct Ids {
    seed: AtomicU64,
    count: AtomicU64,
}

impl Ids {
    /// `seed` must differ between processes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed: AtomicU64::new(seed), count: AtomicU64::new(0) }
    }

    /// Reseeds after a fork, so that the new process has ids of its own.
    pub fn reseed(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
    }

    /// A new number.
    pub fn number(&self) -> u64 {
        mix(self.seed.load(Ordering::Relaxed) ^ mix(self.count.fetch_add(1, Ordering::Relaxed)))
    }

    /// A new id of 32 hexadecimal digits.
    pub fn id(&self) -> String {
        std::str::from_utf8(&self.digits()).unwrap_or_default().to_owned()
    }

    /// A new id as digits.
    pub(super) fn digits(&self) -> [u8; 32] {
        let mut out = [b'0'; 32];
        let (high, low) = out.split_at_mut(16);
        high.copy_from_slice(&hex(self.number()));
        low.copy_from_slice(&hex(self.number()));
        out
    }
}

/// Formats a number as 16 hexadecimal digits in lower case.
pub(super) fn hex(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [b'0'; 16];
    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = [byte >> 4, byte & 0xf].map(|digit| DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0'));
    }
    out
}

/// Whether an `x-request-id` is usable: 1 to 128 visible ASCII characters.
#[must_use]
pub(crate) fn is_usable(id: &[u8]) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// Encodes an id for a header field: bytes that are not visible ASCII are percent-encoded (RFC 3986, section 2.1).
#[must_use]
pub fn header_safe(id: &str) -> Cow<'_, str> {
    use std::fmt::Write as _;
    if id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return id.into();
    }
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(String::from_utf8_lossy(&hex(number)), format!("{number:016x}"));
        }
    }

    #[test]
    fn ids() {
        let ids = Ids::new(7);
        let (a, b) = (ids.id(), ids.id());
        assert!(a != b && a.len() == 32 && is_usable(a.as_bytes()));
        assert_eq!(header_safe("a b\r\né"), "a%20b%0D%0A%C3%A9");
        assert!(!is_usable(b"") && !is_usable(b"a b") && !is_usable(&[b'x'; 129]) && is_usable(&[b'x'; 128]));
    }
}
