//! What documents of one form have in common, and how one is compared with it.

use super::kernels::Tokens;
use super::probe::words_at;
use super::{Element, Leaf, narrow, scalar};

/// What a document of some form is made of.
///
/// Its *anchors* are its quotes, its first byte, and the ends of its scalars, in this order.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// The literals that are found by quotes, and one at the beginning.
    pub(super) pieces: Vec<Piece>,
    /// Those that are found by the end of a scalar before them.
    pub(super) more_pieces: Vec<Piece>,
    pub(super) quotes: usize,
    /// How many control characters are in all literals, and how many bytes.
    pub(super) controls: usize,
    pub(super) bytes: usize,
    /// Where the first literal starts and the last one ends.
    pub(super) start: Spot,
    pub(super) end: Spot,
    /// What is recorded, in that order.
    pub(super) values: Vec<Recorded>,
    /// The numbers and words, recorded or not.
    pub(super) scalars: Vec<Scalar>,
    /// The anchors between which all strings are that are recorded.
    pub(super) strings: (u32, u32),
    pub(super) elements: Vec<Element>,
    /// How many containers are nested.
    pub(super) depth: usize,
    /// Whether another document was of it.
    pub(super) was_met: bool,
}

/// A place in all documents of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) anchor: u32,
    /// How many bytes behind that it is; before it, if they wrap around.
    pub(super) behind: u32,
}

/// At most 16 bytes of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) words: (u64, u64),
    /// Which bits of those count.
    pub(super) filled: (u64, u64),
    pub(super) at: Spot,
}

/// A value that is recorded, in one of its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    /// As it is recorded, but that its offsets are counted from two anchors, as in a [`Spot`].
    pub(super) leaf: Leaf,
    pub(super) anchors: (u32, u32),
}

/// A number or word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) at: Spot,
    /// Where the literal behind it is, if that is found by a quote.
    pub(super) next: Option<Spot>,
    /// Up to where what is found by its end is in [`Form::more_pieces`].
    pub(super) pieces: u32,
    /// Which values of the form it is.
    pub(super) values: (u32, u32),
}

impl Spot {
    /// Where it is in a document that has these anchors.
    #[inline(always)]
    fn of(self, anchors: &Tokens<'_>) -> usize {
        anchors.early(self.anchor).wrapping_add(self.behind) as usize
    }
}

impl Piece {
    /// Not 0 if a document has another one.
    #[inline(always)]
    fn differs(&self, body: &[u8], anchors: &Tokens<'_>) -> u64 {
        let (low, high) = words_at(body, self.at.of(anchors));
        (low ^ self.words.0) & self.filled.0 | (high ^ self.words.1) & self.filled.1
    }
}

/// Whether a document has all of these pieces. No branch for each: nearly always it has.
#[inline(always)]
fn has_all(pieces: &[Piece], body: &[u8], anchors: &Tokens<'_>) -> bool {
    pieces.iter().fold(0, |others, piece| others | piece.differs(body, anchors)) == 0
}

impl Form {
    /// Whether this is the form of a document but for its numbers and words and what is behind those, `anchors` being all its
    /// quotes, which are so many, and its first byte.
    #[inline]
    pub(super) fn is(&self, body: &[u8], anchors: &Tokens<'_>, quotes: usize, controls: usize) -> bool {
        // What is compared is no more than there is of the document.
        quotes == self.quotes
            && controls == self.controls
            && body.len() >= self.bytes
            && self.start.of(anchors) == 0
            && has_all(&self.pieces, body, anchors)
    }

    /// Records what is in a document that is of this form but for its numbers and words, `anchors` being all its quotes and its
    /// first byte.
    ///
    /// # Errors
    /// One of those is none, or behind it is something else: nothing was recorded. How many were read.
    #[inline]
    pub(super) fn record(
        &self,
        body: &[u8],
        anchors: &mut Tokens<'_>,
        leaves: &mut Vec<Leaf>,
    ) -> Result<(), usize> {
        let mut compared = 0;
        for (number, scalar) in self.scalars.iter().enumerate() {
            let at = scalar.at.of(anchors);
            let next = scalar.next.map_or(usize::MAX, |next| next.of(anchors));
            let Ok(Some((end, _))) = scalar::end(body, at, next) else { return Err(number + 1) };
            anchors.set(narrow(self.quotes + number) + 1, narrow(end));
            if scalar.next.is_some() {
                if end != next {
                    return Err(number + 1);
                }
                continue;
            }
            let until = scalar.pieces as usize;
            if !has_all(self.more_pieces.get(compared..until).unwrap_or_default(), body, anchors) {
                return Err(number + 1);
            }
            compared = until;
        }
        if self.end.of(anchors) != body.len() {
            return Err(self.scalars.len());
        }
        let first = leaves.len();
        leaves.extend(self.values.iter().map(|Recorded { leaf, anchors: (start, end) }| {
            let (start, end) =
                (anchors.early(*start).wrapping_add(leaf.start), anchors.early(*end).wrapping_add(leaf.end));
            Leaf { start, end, ..*leaf }
        }));
        for scalar in &self.scalars {
            let (from, behind) = scalar.values;
            for leaf in leaves.get_mut(first + from as usize..first + behind as usize).into_iter().flatten() {
                leaf.kind = scalar::kind(body, leaf.start as usize);
            }
        }
        Ok(())
    }

    /// Whether it is the same as another one, by the same trie: then what they record is the same, too.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pieces == other.pieces
            && self.more_pieces == other.more_pieces
            && self.scalars == other.scalars
            && (self.start, self.end) == (other.start, other.end)
    }

    /// The first up to eight bytes, and which bits of those count.
    pub(super) fn head(&self) -> (u64, u64) {
        self.pieces.first().map_or((0, 0), |piece| (piece.words.0, piece.filled.0))
    }

    /// How many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let Self { pieces, more_pieces, values, scalars, elements, .. } = self;
        size_of::<Self>()
            + size_of_val(&**pieces)
            + size_of_val(&**more_pieces)
            + size_of_val(&**values)
            + size_of_val(&**scalars)
            + size_of_val(&**elements)
    }
}
