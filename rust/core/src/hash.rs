//! Hashes that every process and machine computes alike. Even, not secret.

/// One step of splitmix64.
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hashes a key or a URL to 64 bits. Even, not secret: who may choose keys may choose where they belong, which is what
/// a key is for.
///
/// `h = mix(length)`, then for each eight bytes, little-endian, the last ones filled up with zeros, `h = mix(h ^ word)`,
/// where `mix` is one step of splitmix64.
///
/// ```
/// use waypost_core::hash::hash;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
