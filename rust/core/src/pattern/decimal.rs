//! Exact decimal numbers of any size, compared without expanding them.

use std::cmp::Ordering;
use std::fmt;

use smallvec::SmallVec;

/// The largest exponent that is stored; larger ones (either sign) are clamped to it. Patterns are limited to [`MAX_EXPONENT`],
/// far below. So a clamped number from a document still compares exactly: it is larger, or nearer to zero, than any number
/// that a pattern can hold.
const CLAMP: i64 = 4_000_000_000_000_000_000;

/// The largest exponent (either sign) of a number in a pattern.
pub const MAX_EXPONENT: i64 = 1_000_000_000_000_000_000;

/// The rank of 0.
const ZERO: u64 = 1 << 63;
/// Number of digits in a rank: as many as fit in 50 bits.
const RANKED: usize = 15;
/// Exponents from here on (either sign) share a rank; only comparing the values distinguishes them.
const LARGE: i64 = 2046;
/// Powers of ten, by exponent.
const POWERS: [u64; RANKED] = {
    let mut powers = [1; RANKED];
    let mut unset: &mut [u64] = &mut powers;
    let mut power = 1;
    while let Some((first, others)) = unset.split_first_mut() {
        *first = power;
        power *= 10;
        unset = others;
    }
    powers
};

/// A number as sign, significant digits and exponent: `0.d₁d₂d₃… × 10^exponent`, without leading or trailing
/// zero digits. `7`, `7.0` and `70e-1` are the same value, and `1e999999999` takes one digit.
///
/// ```
/// use waypost_core::pattern::Decimal;
/// assert_eq!(Decimal::parse("7"), Decimal::parse("70e-1"));
/// assert!(Decimal::parse("9007199254740993") > Decimal::parse("9007199254740992"));
/// assert_eq!(Decimal::parse("0x10"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    exponent: i64,
    digits: SmallVec<[u8; 24]>,
}

impl Decimal {
    /// Parses a number in JSON's grammar (RFC 8259, section 6), leading zeros allowed; `None` for other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Most numbers in messages are counts.
        if let [b'1'..=b'9', others @ ..] = text.as_bytes()
            && others.len() < 16
            && others.iter().all(u8::is_ascii_digit)
        {
            let digits = text.trim_end_matches('0').as_bytes();
            let exponent = i64::try_from(text.len()).unwrap_or(CLAMP);
            return Some(Self { negative: false, exponent, digits: SmallVec::from_slice(digits) });
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        let mut digits: SmallVec<[u8; 24]> = SmallVec::new();
        let mut exponent = exponent;
        if whole.is_empty() {
            let significant = fraction.trim_start_matches('0');
            exponent = shift(exponent, fraction.len() - significant.len(), true);
            digits.extend_from_slice(significant.as_bytes());
        } else {
            exponent = shift(exponent, whole.len(), false);
            digits.extend_from_slice(whole.as_bytes());
            digits.extend_from_slice(fraction.as_bytes());
        }
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self { negative: false, exponent: 0, digits });
        }
        Some(Self { negative, exponent, digits })
    }

    /// Whether the exponent is small enough for a pattern.
    #[must_use]
    pub fn in_range(&self) -> bool {
        self.exponent.abs() <= MAX_EXPONENT
    }

    /// The value as an integer, if it is one and fits.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let length = i64::try_from(self.digits.len()).ok()?;
        if self.negative || self.exponent < length || self.exponent > 20 {
            return None;
        }
        let mut out: u64 = 0;
        for &digit in &self.digits {
            out = out.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        }
        for _ in length..self.exponent {
            out = out.checked_mul(10)?;
        }
        Some(out)
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.negative
    }

    /// An integer that sorts as the value does, and whether it represents the value exactly. Of all values with one rank, at
    /// most one is exact; the others are further from 0.
    pub(crate) fn rank(&self) -> (u64, bool) {
        if self.digits.is_empty() {
            return (ZERO, true);
        }
        let exponent = self.exponent.clamp(-LARGE, LARGE);
        let is_large = exponent.abs() == LARGE;
        let digit = |at: usize| self.digits.get(at).map_or(0, |digit| u64::from(digit & 15));
        let digits = if is_large { 0 } else { (0..RANKED).fold(0, |sum, at| 10 * sum + digit(at)) };
        let magnitude = magnitude(exponent, digits);
        let rank = if self.negative { ZERO - magnitude } else { ZERO + magnitude };
        (rank, !is_large && self.digits.len() <= RANKED)
    }

    /// The value of an exact rank.
    pub(crate) fn of_rank(rank: u64) -> Self {
        let magnitude = rank.abs_diff(ZERO);
        if magnitude == 0 {
            return Self { negative: false, exponent: 0, digits: SmallVec::new() };
        }
        let exponent = (magnitude >> 50).cast_signed() - LARGE - 1;
        let mut coefficient = magnitude & ((1 << 50) - 1);
        let mut digits: SmallVec<[u8; 24]> = SmallVec::from_elem(b'0', RANKED);
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(coefficient % 10).unwrap_or_default();
            coefficient /= 10;
        }
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        Self { negative: rank < ZERO, exponent, digits }
    }

    /// The rank of a count of at most 15 digits, without building a [`Decimal`]; such a rank is exact. Most numbers in
    /// messages are such counts; `None` for any other text.
    #[inline]
    pub(crate) fn plain_rank(text: &str) -> Option<u64> {
        let digits = text.as_bytes();
        if digits.first() == Some(&b'0') {
            return None;
        }
        let fill = POWERS.get(RANKED.checked_sub(digits.len())?)?;
        let (value, is_count) = digits.iter().fold((0, true), |(value, is_count), byte| {
            (10 * value + u64::from(byte & 15), is_count & byte.is_ascii_digit())
        });
        let exponent = i64::try_from(digits.len()).ok()?;
        is_count.then(|| ZERO + magnitude(exponent, value * fill))
    }

    /// Writes the value's key: bytes that are equal exactly for equal values.
    pub(crate) fn key(&self, out: &mut SmallVec<[u8; 32]>) {
        out.clear();
        out.push(u8::from(self.negative));
        out.extend_from_slice(&self.exponent.to_le_bytes());
        out.extend_from_slice(&self.digits);
    }

    /// The value of a key that [`Decimal::key`] wrote.
    pub(crate) fn from_key(key: &[u8]) -> Option<Self> {
        let (negative, unsigned) = key.split_first()?;
        let (exponent, digits) = unsigned.split_first_chunk()?;
        Some(Self {
            negative: *negative == 1,
            exponent: i64::from_le_bytes(*exponent),
            digits: SmallVec::from_slice(digits),
        })
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits))
    }
}

/// Packs an exponent and [`RANKED`] digits (the low 50 bits) so that the result sorts as the absolute value does.
#[inline]
fn magnitude(exponent: i64, digits: u64) -> u64 {
    (exponent + LARGE + 1).unsigned_abs() << 50 | digits
}

/// Adds a count of digits to `exponent`, or subtracts it with `down`; clamped.
fn shift(exponent: i64, digits: usize, down: bool) -> i64 {
    let digits = i64::try_from(digits).unwrap_or(CLAMP);
    let moved = if down { exponent.saturating_sub(digits) } else { exponent.saturating_add(digits) };
    moved.clamp(-CLAMP, CLAMP)
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits
        .bytes()
        .fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(CLAMP));
    Some(if negative { -size } else { size })
}

/// Writes plain or scientific notation, whichever is shorter; both are JSON.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = std::str::from_utf8(&self.digits).unwrap_or_default();
        if self.negative {
            f.write_str("-")?;
        }
        let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        match (digits.split_at_checked(1), self.exponent) {
            (None, _) => f.write_str("0"),
            (_, exponent @ -5..=0) => {
                f.write_str("0.")?;
                (exponent..0).try_for_each(|_| f.write_str("0"))?;
                f.write_str(digits)
            }
            (_, exponent @ 1..=21) if exponent < length => {
                let (whole, fraction) = digits.split_at(usize::try_from(exponent).unwrap_or_default());
                write!(f, "{whole}.{fraction}")
            }
            (_, exponent @ 1..=21) => {
                f.write_str(digits)?;
                (length..exponent).try_for_each(|_| f.write_str("0"))
            }
            (Some((first, others)), exponent) => {
                let point = if others.is_empty() { "" } else { "." };
                write!(f, "{first}{point}{others}e{}", exponent - 1)
            }
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return if other.negative { Ordering::Greater } else { Ordering::Less },
            (false, true) => return if self.negative { Ordering::Less } else { Ordering::Greater },
            (false, false) => {}
        }
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn equal_values_are_equal_whatever_their_text() {
        for group in [
            &["7", "7.0", "70e-1", "0.7e1", "7E+0", "007"][..],
            &["0", "-0", "0.000", "0e5", "-0e-99999999999999999999"],
            &["1e999999999", "10e999999998", "0.1e1000000000"],
            &["-0.00125", "-125e-5", "-1.25E-3"],
        ] {
            for pair in group.windows(2) {
                assert_eq!(d(pair[0]), d(pair[1]), "{pair:?}");
            }
        }
    }

    #[test]
    fn order_is_exact_where_a_double_is_not() {
        let ascending = [
            "-1e99999999999999999999",
            "-1e999999999",
            "-9007199254740993",
            "-9007199254740992",
            "-1",
            "-1e-99999999999999999999",
            "0",
            "1e-99999999999999999999",
            "1e-999999999",
            "0.1",
            "0.10000000000000000000000000001",
            "9007199254740992",
            "9007199254740993",
            "1e308",
            "1e309",
            "1e99999999999999999999",
        ];
        for pair in ascending.windows(2) {
            assert!(d(pair[0]) < d(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "-", "+1", ".5", "5.", "1e", "1e+", "e5", "1_000", "0x10", "NaN", "1.2.3", "1e5.5", " 1", "١",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn whole_numbers_come_back() {
        for (text, value) in [
            ("0", Some(0)),
            ("7.0", Some(7)),
            ("70e-1", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("7.5", None),
            ("-1", None),
            ("1e30", None),
            ("1e19", Some(10_000_000_000_000_000_000)),
        ] {
            assert_eq!(d(text).to_u64(), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn order_agrees_with_integers(a in any::<i128>(), b in any::<i128>(), zeros in 0_usize..5) {
            let shifted = format!("{a}{}e-{zeros}", "0".repeat(zeros));
            prop_assert_eq!(d(&shifted).cmp(&d(&b.to_string())), a.cmp(&b));
            prop_assert_eq!(d(&shifted), d(&a.to_string()));
        }

        #[test]
        fn order_agrees_with_doubles(a in any::<f32>(), b in any::<f32>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            // The shortest text that parses back to the same double sorts as the double does.
            let (a, b) = (f64::from(a), f64::from(b));
            prop_assert_eq!(Some(d(&format!("{a:e}")).cmp(&d(&format!("{b}")))), a.partial_cmp(&b));
        }

        #[test]
        fn ranks_sort_as_values_do(
            a in "-?[0-9]{1,3}(00000000000[0-9]{1,9})?(e-?(204[0-9]|9999999|[0-9]))?",
            b in "-?[0-9]{1,3}(00000000000[0-9]{1,9})?(e-?(204[0-9]|9999999|[0-9]))?",
        ) {
            let (a, b) = (d(&a), d(&b));
            let ((first, is_exact), (second, other_is_exact)) = (a.rank(), b.rank());
            let order = first.cmp(&second);
            prop_assert!(order == a.cmp(&b) || order.is_eq() && !(is_exact && other_is_exact), "{a} {b}");
            if order.is_eq() && is_exact && !other_is_exact {
                prop_assert_eq!(a < b, !a.is_negative(), "{} {}", a, b);
            }
        }

        #[test]
        fn plain_ranks_are_ranks(text in prop_oneof!["[0-9]{0,18}", "-?[0-9]{1,3}([.eE][0-9]{1,2})?", "[1-9]0{0,17}"]) {
            match Decimal::plain_rank(&text) {
                Some(rank) => prop_assert_eq!((rank, true), d(&text).rank()),
                None => prop_assert!(text.len() > RANKED || text.starts_with('0') || text.parse::<u64>().is_err()),
            }
        }

        #[test]
        fn shown_and_read_again(text in "-?[0-9]{1,12}(\\.[0-9]{1,12})?(e-?[0-9]{1,3})?") {
            let number = d(&text);
            prop_assert_eq!(&d(&number.to_string()), &number);
            let mut key = SmallVec::new();
            number.key(&mut key);
            prop_assert_eq!(Decimal::from_key(&key), Some(number));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = Decimal::parse(&text);
        }
    }
}
