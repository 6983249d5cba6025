//! Which of a cluster's endpoints to try.
//!
//! Every way of choosing takes the endpoints' weights, in any unit; one of weight 0 is never chosen, which is how those
//! that are out or were tried already are left out. Each costs one or two passes over the weights and allocates nothing.

use super::rendezvous;
use crate::cluster::rng::Rng;

/// Endpoints by position, each once. Up to 256 take no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried(smallvec::SmallVec<[u64; 4]>);

impl Tried {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an endpoint in.
    pub fn insert(&mut self, position: usize) {
        let word = position / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << (position % 64);
        }
    }

    /// Whether an endpoint is in.
    #[must_use]
    pub fn contains(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word & (1 << (position % 64)) != 0)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Of two, drawn at random by weight, the one with less load ("power of two choices").
///
/// Two draws are as good at keeping off busy endpoints as looking at all would be, and unlike it they do not send every
/// process to the same one. What is drawn are two different units of weight, a unit being `unit` (the least weight
/// configured): endpoints of equal weight are so never compared with themselves, and of endpoints of equal load each
/// still gets its share exactly, as each unit does.
///
/// ```
/// use waypost_core::cluster::{Rng, choice::balance::two_choices};
/// let load = [3.0, 1.0, 2.0];
/// let chosen = two_choices(&[1, 0, 1], 1, &mut Rng::new(7), |one, other| load[one] < load[other]);
/// assert_eq!(chosen, Some(2), "the one with the least load has no weight");
/// ```
///
/// `less`: whether the first has less load than the second.
pub fn two_choices(
    weights: &[u32],
    unit: u32,
    rng: &mut Rng,
    less: impl Fn(usize, usize) -> bool,
) -> Option<usize> {
    let total = total(weights);
    let first = draw(weights, None, rng.below(total))?;
    let reduced = weights.get(first.0).map_or(0, |weight| (*weight).min(unit));
    let remaining = total - u64::from(reduced);
    if remaining == 0 {
        return Some(first.0);
    }
    let second = draw(weights, Some((first.0, reduced)), rng.below(remaining))?;
    if first.0 == second.0 {
        return Some(first.0);
    }
    Some(if less(second.0, first.0) { second.0 } else { first.0 })
}

/// At random by weight.
pub fn weighted(weights: &[u32], rng: &mut Rng) -> Option<usize> {
    draw(weights, None, rng.below(total(weights))).map(|(position, _)| position)
}

/// In turns by weight, as evenly spread as can be ("smooth weighted round robin", as nginx does it): each choice gives
/// every endpoint credit of its weight, the one with the most is chosen, and pays the sum of the weights.
///
/// `credit` adds to an endpoint's credit and returns the sum.
pub fn round_robin(weights: &[u32], mut credit: impl FnMut(usize, i64) -> i64) -> Option<usize> {
    let mut best: Option<(usize, i64)> = None;
    for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        let sum = credit(position, i64::from(*weight));
        if best.is_none_or(|(_, most)| sum > most) {
            best = Some((position, sum));
        }
    }
    let (position, _) = best?;
    credit(position, -i64::try_from(total(weights)).unwrap_or(i64::MAX));
    Some(position)
}

/// The endpoint that a key belongs to: see [`rendezvous`]. `url` is the hash of an endpoint's URL.
pub fn hashed(weights: &[u32], key: u64, url: impl Fn(usize) -> u64) -> Option<usize> {
    let mut best = None;
    let mut most = 0.0;
    for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        if let Some(score) = rendezvous::score_above(most, key, url(position), *weight) {
            (best, most) = (Some(position), score);
        }
    }
    best
}

fn total(weights: &[u32]) -> u64 {
    weights.iter().map(|weight| u64::from(*weight)).sum()
}

/// The position in whose weight `point` falls, and that weight. `less` takes some from one of them.
fn draw(weights: &[u32], less: Option<(usize, u32)>, mut point: u64) -> Option<(usize, u32)> {
    for (position, weight) in weights.iter().enumerate() {
        let weight = match less {
            Some((at, by)) if at == position => weight.saturating_sub(by),
            _ => *weight,
        };
        if point < u64::from(weight) {
            return Some((position, weight));
        }
        point -= u64::from(weight);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::rng::Rng;

    proptest! {
        #[test]
        fn only_what_has_weight_is_chosen(
            weights in prop::collection::vec(0_u32..4, 0..9), seed in any::<u64>(), unit in 0_u32..4
        ) {
            let mut rng = Rng::new(seed);
            let mut credits = [0; 9];
            let credit = |at: usize, by: i64| { credits[at] += by; credits[at] };
            for chosen in [
                two_choices(&weights, unit, &mut rng, |one, other| one < other),
                weighted(&weights, &mut rng),
                round_robin(&weights, credit),
                hashed(&weights, seed, |at| at as u64),
            ] {
                match chosen {
                    Some(at) => prop_assert!(weights[at] > 0),
                    None => prop_assert!(weights.iter().all(|weight| *weight == 0)),
                }
            }
        }

        #[test]
        fn turns_are_exact_and_even(weights in prop::collection::vec(1_u32..8, 1..6)) {
            let mut credits = [0; 6];
            let total: u32 = weights.iter().sum();
            let mut counts = [0_u32; 6];
            for turn in 1..=3 * total {
                let credit = |at: usize, by: i64| { credits[at] += by; credits[at] };
                counts[round_robin(&weights, credit).unwrap()] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    let due = f64::from(turn) * f64::from(*weight) / f64::from(total);
                    prop_assert!((f64::from(*count) - due).abs() <= 2.0, "{count} of {due} after {turn}");
                }
            }
            for (count, weight) in counts.iter().zip(&weights) {
                prop_assert_eq!(*count, 3 * weight);
            }
        }

        #[test]
        fn tried_is_a_set(positions in prop::collection::vec(0_usize..600, 0..20)) {
            let mut tried = Tried::new();
            prop_assert!(tried.is_empty());
            for position in &positions {
                tried.insert(*position);
            }
            for position in 0..700 {
                prop_assert_eq!(tried.contains(position), positions.contains(&position));
            }
        }
    }

    /// Shares of 60 000 choices, in per cent.
    fn shares<const N: usize>(mut choose: impl FnMut(&mut Rng) -> usize) -> [f64; N] {
        let mut rng = Rng::new(11);
        let mut counts = [0_u32; N];
        for _ in 0..60_000 {
            counts[choose(&mut rng)] += 1;
        }
        counts.map(|count| f64::from(count) / 600.0)
    }

    fn near(shares: &[f64], expected: &[f64]) {
        for (share, expected) in shares.iter().zip(expected) {
            assert!((share - expected).abs() < 1.0, "{shares:?} is not {expected:?}");
        }
    }

    #[test]
    fn equal_load_is_shared_by_weight() {
        near(&shares::<3>(|rng| weighted(&[1, 2, 3], rng).unwrap()), &[16.7, 33.3, 50.0]);
        near(&shares::<3>(|rng| two_choices(&[1, 2, 3], 1, rng, |_, _| false).unwrap()), &[16.7, 33.3, 50.0]);
        // The same on the average where loads differ by chance.
        let noise = std::cell::RefCell::new(Rng::new(3));
        let less = |_, _| noise.borrow_mut().unit() < 0.5;
        near(&shares::<2>(|rng| two_choices(&[100, 300], 100, rng, less).unwrap()), &[25.0, 75.0]);
    }

    #[test]
    fn the_busiest_of_equals_is_never_chosen() {
        let load = [1.0, 9.0, 1.0];
        near(
            &shares::<3>(|rng| two_choices(&[5; 3], 5, rng, |one, other| load[one] < load[other]).unwrap()),
            &[50.0, 0.0, 50.0],
        );
        let load = [9.0, 1.0];
        near(
            &shares::<2>(|rng| two_choices(&[1; 2], 1, rng, |one, other| load[one] < load[other]).unwrap()),
            &[0.0, 100.0],
        );
    }
}
