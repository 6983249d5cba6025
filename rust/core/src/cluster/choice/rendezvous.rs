//! Weighted rendezvous hashing: which endpoint a key belongs to.
//!
//! Each endpoint has a score for a key, `-weight / ln(u)`, where `u` in (0, 1) is a hash of the key and the endpoint's
//! URL; the highest wins (highest random weight; Schindelhauer and Schomaker's logarithmic method for the weights). Keys
//! fall to endpoints in proportion to the weights. The scores of two endpoints do not depend on any third, so that an
//! endpoint that goes takes only its own keys with it, one that comes or gains weight only draws keys to itself, and the
//! endpoint that gets a key when its first one is out is always the same.
//!
//! Everything is fixed, so that all processes and machines agree: [`hash`](crate::hash::hash) is made of splitmix64 steps, and `ln` of
//! IEEE 754 additions, multiplications and divisions, which are exact to the bit everywhere.

use crate::cluster::time::float;
use crate::hash::mix;

/// The score of an endpoint, given by the [`hash`](crate::hash::hash) of its URL, for a key, given by its own. Positive where `weight` is.
///
/// ```
/// use waypost_core::cluster::choice::rendezvous::score;
/// use waypost_core::hash::hash;
/// let (key, url) = (hash(b"session-42"), hash(b"http://127.0.0.1:9100"));
/// assert_eq!(score(key, url, 2), 2.0 * score(key, url, 1));
/// ```
#[must_use]
pub fn score(key: u64, url: u64, weight: u32) -> f64 {
    f64::from(weight) / -ln(unit(key, url))
}

/// The [`score`], if it may be greater than `most`. Mostly it is not, and that is seen without a logarithm:
/// `-ln(u) > 1 - u`.
pub(crate) fn score_above(most: f64, key: u64, url: u64, weight: u32) -> Option<f64> {
    let u = unit(key, url);
    // What rounding does is far less than a millionth.
    if f64::from(weight) * 1.000_001 < most * (1.0 - u) {
        return None;
    }
    Some(f64::from(weight) / -ln(u)).filter(|score| *score > most)
}

/// A number between 0 and 1, neither included, of 52 bits and a half.
fn unit(key: u64, url: u64) -> f64 {
    (float(mix(key ^ mix(url)) >> 12) + 0.5) / float(1 << 52)
}

/// The natural logarithm of a positive, normal number, to about 1e-15 of it, the same on every machine (which the standard
/// library does not promise).
fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    const SERIES: [f64; 11] = [
        1.0,
        1.0 / 3.0,
        1.0 / 5.0,
        1.0 / 7.0,
        1.0 / 9.0,
        1.0 / 11.0,
        1.0 / 13.0,
        1.0 / 15.0,
        1.0 / 17.0,
        1.0 / 19.0,
        1.0 / 21.0,
    ];
    let bits = x.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or_default() - 1023;
    let m = f64::from_bits((bits & MANTISSA) | (1023 << 52));
    // Between 0.707 and 1.414, so that the series is short: ln m = 2 artanh((m - 1) / (m + 1)).
    let (m, exponent) = if m > std::f64::consts::SQRT_2 { (m / 2.0, exponent + 1) } else { (m, exponent) };
    let t = (m - 1.0) / (m + 1.0);
    let square = t * t;
    let sum = SERIES.iter().rev().fold(0.0, |sum, term| sum * square + term);
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * t * sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ln_is_the_logarithm(x in 1e-17_f64..1.0) {
            prop_assert!((ln(x) - x.ln()).abs() <= 4e-15 * x.ln().abs().max(1e-3), "{} {}", ln(x), x.ln());
        }

        #[test]
        fn what_is_left_out_is_not_above(key in any::<u64>(), url in any::<u64>(), weight in 1_u32..1000, share in 0.5_f64..1.5) {
            let score = score(key, url, weight);
            let most = score * share;
            prop_assert_eq!(score_above(most, key, url, weight), (score > most).then_some(score));
        }
    }
}
