//! In which order to try the endpoints of a cluster.

/// The positions of `weights`, each once, in a random order in which a position comes first with the probability of
/// its weight. The same seed gives the same order.
///
/// ```
/// assert_eq!(waypost_core::cluster::order(&[5], 7), [0]);
/// let mut both = waypost_core::cluster::order(&[1, 3], 42);
/// both.sort();
/// assert_eq!(both, [0, 1]);
/// ```
#[must_use]
pub fn order(weights: &[u32], seed: u64) -> Vec<usize> {
    let mut left: Vec<(usize, u64)> = weights.iter().map(|w| u64::from(*w)).enumerate().collect();
    let mut out = Vec::with_capacity(left.len());
    let mut state = seed;
    while left.len() > 1 {
        let total: u64 = left.iter().map(|(_, weight)| weight).sum();
        state = mix(state);
        let mut point = state % total.max(1);
        let at = left.iter().position(|(_, weight)| {
            let here = point < *weight;
            point = point.saturating_sub(*weight);
            here
        });
        out.push(left.remove(at.unwrap_or_default()).0);
    }
    out.extend(left.into_iter().map(|(position, _)| position));
    out
}

/// One step of splitmix64.
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firsts_follow_the_weights() {
        let mut firsts = [0_u32; 3];
        for seed in 0..6000 {
            let order = order(&[1, 2, 3], seed);
            assert_eq!(order.len(), 3);
            firsts[order[0]] += 1;
        }
        for (count, share) in firsts.iter().zip([1000_u32, 2000, 3000]) {
            assert!(count.abs_diff(share) < 200, "{firsts:?}");
        }
    }
}
