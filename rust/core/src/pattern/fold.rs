//! Case-insensitive comparison by Unicode simple case folding, without normalisation.

use smol_str::SmolStr;

/// The simple case folding of a character (status C and S of Unicode's `CaseFolding.txt`).
#[must_use]
pub(crate) fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    unicode_case_mapping::case_folded(c).and_then(|folded| char::from_u32(folded.get())).unwrap_or(c)
}

/// A string that is compared by its case folding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Folded {
    source: SmolStr,
}

impl Folded {
    /// Keeps `source` as written; comparisons fold it.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self { source: source.into() }
    }

    /// The string as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The case folding of the string.
    pub(crate) fn folded(&self) -> SmolStr {
        self.chars().collect()
    }

    fn chars(&self) -> impl DoubleEndedIterator<Item = char> {
        self.source.chars().map(fold)
    }

    /// Whether `text` is this string in any case.
    #[must_use]
    pub fn equals(&self, text: &str) -> bool {
        text.chars().map(fold).eq(self.chars())
    }

    /// Whether `text` starts with this string in any case.
    #[must_use]
    pub fn is_prefix_of(&self, text: &str) -> bool {
        let mut chars = text.chars().map(fold);
        self.chars().all(|wanted| chars.next() == Some(wanted))
    }

    /// Whether `text` ends with this string in any case.
    #[must_use]
    pub fn is_suffix_of(&self, text: &str) -> bool {
        let mut chars = text.chars().rev().map(fold);
        self.chars().rev().all(|wanted| chars.next() == Some(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_folding_not_full() {
        assert!(Folded::new("straẞe").equals("STRAßE"), "one letter folds to one letter");
        assert!(!Folded::new("strasse").equals("straße"), "no expansion to two letters");
        assert!(Folded::new("ΣΊΣΥΦΟΣ").equals("σίσυφος"), "final sigma folds");
        assert!(Folded::new("\u{212a}").equals("k"), "the Kelvin sign is a k");
        assert!(!Folded::new("é").equals("e\u{301}"), "no normalisation");
        assert!(!Folded::new("İ").equals("i"), "the dotted capital I has no simple folding");
    }

    #[test]
    fn prefixes_and_suffixes() {
        let folded = Folded::new("LLaMA");
        assert!(folded.is_prefix_of("llama-3") && folded.is_suffix_of("my-LLAMA") && folded.equals("llama"));
        assert!(!folded.is_prefix_of("llam") && !folded.is_suffix_of("lama") && !folded.equals("llama3"));
        assert!(
            Folded::new("").is_prefix_of("")
                && Folded::new("").is_suffix_of("x")
                && !Folded::new("").equals("x")
        );
    }
}
