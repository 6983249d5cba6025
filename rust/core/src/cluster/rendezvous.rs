//! Weighted rendezvous hashing: which endpoint a key belongs to.
//!
//! Each endpoint has a score for a key, `-weight / ln(u)`, where `u` in (0, 1) is a hash of the key and the endpoint's
//! URL; the highest wins (highest random weight; Schindelhauer and Schomaker's logarithmic method for the weights). Keys
//! fall to endpoints in proportion to the weights. The scores of two endpoints do not depend on any third, so that an
//! endpoint that goes takes only its own keys with it, one that comes or gains weight only draws keys to itself, and the
//! endpoint that gets a key when its first one is out is always the same.
//!
//! Everything is fixed, so that all processes and machines agree: [`hash`] is made of splitmix64 steps, and `ln` of
//! IEEE 754 additions, multiplications and divisions, which are exact to the bit everywhere.

use super::mix;
use super::time::float;

/// Hashes a key or a URL to 64 bits. Even, not secret: who may choose keys may choose where they belong, which is what
/// a key is for.
///
/// `h = mix(length)`, then for each eight bytes, little-endian, the last ones filled up with zeros, `h = mix(h ^ word)`,
/// where `mix` is one step of splitmix64.
///
/// ```
/// use waypost_core::cluster::rendezvous::hash;
/// // Part of the contract: other processes, maybe of another version, have to agree.
/// assert_eq!(hash(b""), 0xe220_a839_7b1d_cdaf);
/// assert_eq!(hash(b"session-42"), 0x83c1_b8d4_0c9b_02e6);
/// ```
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    seeded_hash(0, bytes)
}

/// As [`hash`], beginning with `mix(seed ^ length)`.
pub(crate) fn seeded_hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut h = mix(seed ^ bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        h = mix(h ^ u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        h = mix(h ^ u64::from_le_bytes(word));
    }
    h
}

/// The score of an endpoint, given by the [`hash`] of its URL, for a key, given by its own. Positive where `weight` is.
///
/// ```
/// use waypost_core::cluster::rendezvous::{hash, score};
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

        #[test]
        fn the_hash_sees_every_byte(mut bytes in prop::collection::vec(any::<u8>(), 1..40), at in any::<prop::sample::Index>()) {
            let before = hash(&bytes);
            prop_assert_ne!(hash(&[&bytes[..], &[0]].concat()), before);
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert_ne!(hash(&bytes), before);
        }
    }
}
