//! Hashes that are the same in every process and on every machine. They are evenly distributed, but not secret.

/// One step of splitmix64.
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hashes a key or a URL to 64 bits.
///
/// The hash is evenly distributed, but not secret: a caller that chooses its key also chooses the endpoint, as a hash key
/// is meant to.
///
/// `h = mix(length)`, then `h = mix(h ^ word)` for each word of eight bytes, little-endian, the last one padded with
/// zeros. `mix` is one step of splitmix64.
///
/// ```
/// use waypost_core::hash::hash;
/// // These values are part of the contract: processes of other versions have to agree.
/// assert_eq!(hash(b""), 0xe220_a839_7b1d_cdaf);
/// assert_eq!(hash(b"session-42"), 0x83c1_b8d4_0c9b_02e6);
/// ```
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    seeded_hash(0, bytes)
}

/// Like [`hash`], but begins with `mix(seed ^ length)`.
pub(crate) fn seeded_hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut h = mix(seed ^ bytes.len() as u64);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        h = mix(h ^ u64::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(tail) {
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
