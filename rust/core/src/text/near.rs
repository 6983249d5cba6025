//! Suggestions for misspelt names.

/// The closest of `known` to `word`, at an edit distance of at most one, plus one for every four characters of `word`.
pub(crate) fn near<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let close = |(_, distance): &(&str, usize)| *distance <= 1 + word.chars().take(LONGEST).count() / 4;
    let measured = known.into_iter().map(|known| (known, distance(word, known)));
    measured.min_by_key(|(_, distance)| *distance).filter(close).map(|(known, _)| known)
}

/// The most characters of a word that are compared. Known names are shorter, so a longer word resembles none.
const LONGEST: usize = 64;

/// Edit distance (Levenshtein) between two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(LONGEST + 1).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, &above) in b.iter().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            diagonal = above;
            left = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (word, meant) in [
            ("tennant", Some("tenant")),
            ("tenant", Some("tenant")),
            ("prio", None),
            ("", None),
            ("x", None),
            ("kinds", Some("kind")),
        ] {
            assert_eq!(near(word, ["tenant", "kind", "priority"]), meant, "{word}");
        }
        assert_eq!(near(&"tenant".repeat(10_000), ["tenant"]), None);
    }
}
