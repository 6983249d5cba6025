//! The values of one message as patterns see them, by field.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::workspace::Document;
use crate::json::{self, Element, Kind};
use crate::pattern::{Decimal, Seen, Work, quote};
use crate::table::ids::{FieldId, narrow};

/// No entry.
const NONE: u32 = u32::MAX;

/// A value at a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) field: FieldId,
    /// The innermost array element around the value, as an index into the scan's elements.
    pub(crate) element: u32,
    /// Never [`Kind::EscapedString`].
    pub(crate) kind: Kind,
    /// Whether the value is a credential, which explanations must not show.
    pub(crate) secret: bool,
    /// The unescaped string, or the JSON text of any other value.
    pub(crate) text: &'a str,
}

/// A message's values, in the order of the message.
pub(crate) type Entries<'a> = SmallVec<[Entry<'a>; 16]>;

/// The values of one message, by field, and the array elements that hold them.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// The document, whose leaves come before `entries`. A leaf becomes an entry only when a pattern needs it: most never do.
    document: Document<'a>,
    entries: &'a [Entry<'a>],
    /// The values of each field, if the message has so many values that scanning all for each field would be slow.
    chains: Option<&'a Chains>,
    pub(crate) elements: &'a [Element],
    /// The work that deciding on the message may still take.
    pub(crate) work: Work,
}

/// The steps of work that every message may take, some 20 ms.
const BASE: u64 = 2_000_000;
/// The further steps for each value of the message and each rule.
pub(crate) const EACH: u64 = 16;

/// The most values that are scanned for each field, without [`Chains`].
const FEW: usize = 24;

/// A linked list of values for each field. Nothing is cleared for a new message; the message's number marks stale lists.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    message: u32,
    /// The list of each field.
    heads: Vec<Head>,
    /// The fields that have a list.
    fields: Vec<FieldId>,
    /// The next value of the same field, for each value.
    next: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    message: u32,
    first: u32,
    last: u32,
}

impl Chains {
    #[inline(never)]
    fn link(&mut self, document: Document<'_>, entries: &[Entry<'_>]) {
        let fields = fields_and_elements(document, entries).map(|(field, _)| field);
        self.message = self.message.wrapping_add(1);
        if self.message == 0 {
            self.heads.clear();
            self.message = 1;
        }
        json::reset(&mut self.next);
        json::reset(&mut self.fields);
        for (field, at) in fields.zip(0..) {
            let index = field as usize;
            if index >= self.heads.len() {
                self.heads.resize(index + 1, Head::default());
            }
            let Some(head) = self.heads.get_mut(index) else { continue };
            if head.message == self.message {
                if let Some(next) = self.next.get_mut(head.last as usize) {
                    *next = at;
                }
                head.last = at;
            } else {
                *head = Head { message: self.message, first: at, last: at };
                self.fields.push(field);
            }
            self.next.push(NONE);
        }
    }

    fn first(&self, field: FieldId) -> u32 {
        let head = self.heads.get(field as usize).filter(|head| head.message == self.message);
        head.map_or(NONE, |head| head.first)
    }
}

/// The scalars of a message with many values, grouped by field.
#[derive(Debug, Default)]
pub(crate) struct ByField {
    /// Those of one field are in the order of their elements.
    scalars: Vec<Place>,
    /// The range of each field in `scalars`.
    fields: HashMap<FieldId, (u32, u32), RandomState>,
}

/// Where a scalar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The innermost array element around it.
    pub(crate) element: u32,
    /// Its position in the message.
    at: u32,
}

impl ByField {
    /// The scalars of a field.
    pub(crate) fn of(&self, field: FieldId) -> &[Place] {
        let Some(&(start, end)) = self.fields.get(&field) else { return &[] };
        self.scalars.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Whether a field has scalars in arrays of objects.
    pub(crate) fn is_in_arrays(&self, field: FieldId) -> bool {
        self.of(field).last().is_some_and(|place| place.element != 0)
    }
}

impl<'a> Entry<'a> {
    /// A string from outside the body, such as a header's value. It is in no array element.
    pub(crate) fn text(field: FieldId, text: &'a str) -> Self {
        Self { field, element: 0, kind: Kind::String, secret: false, text }
    }

    /// The scalar as predicates see it; `None` for an object or an array.
    pub(crate) fn seen(&self) -> Option<Seen<'a>> {
        match self.kind {
            Kind::Null => Some(Seen::Null),
            Kind::False => Some(Seen::Bool(false)),
            Kind::True => Some(Seen::Bool(true)),
            Kind::Number => Decimal::parse(self.text).map(Seen::Number),
            Kind::String | Kind::EscapedString => Some(Seen::String(Cow::Borrowed(self.text))),
            Kind::Object | Kind::Array => None,
        }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::Object | Kind::Array)
    }

    /// The value as JSON text, shortened to about 80 characters.
    pub(crate) fn shown(&self) -> String {
        const LENGTH: usize = 80;
        if self.secret {
            return "(a credential, not shown)".to_owned();
        }
        let mut out = String::new();
        let hidden = if let Some(Seen::String(text)) = self.seen() {
            let short: String = text.chars().take(LENGTH).collect();
            // Writing to a String cannot fail.
            let _ = quote(&short, &mut out);
            text.len() - short.len()
        } else {
            out.extend(self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LENGTH));
            self.text.chars().nth(LENGTH).map_or(0, char::len_utf8)
        };
        if hidden > 0 {
            out.push('…');
        }
        out
    }
}

impl<'a> View<'a> {
    // Not inlined, the result is stored in small parts and loaded in large ones, which stalls the processor.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn new(
        document: Document<'a>,
        entries: &'a [Entry<'a>],
        chains: &'a mut Chains,
        rules: usize,
    ) -> Self {
        let chains = (document.leaves.len() + entries.len() > FEW).then(|| {
            chains.link(document, entries);
            &*chains
        });
        let values = document.leaves.len() + entries.len();
        let work = Work::of(BASE.saturating_add(EACH.saturating_mul(values.saturating_add(rules) as u64)));
        Self { document, entries, chains, elements: document.elements, work }
    }

    /// The message's scalars by field. Takes time for all values.
    #[cold]
    pub(crate) fn by_field(&self) -> ByField {
        let mut out = ByField::default();
        let Some(chains) = self.chains else { return out };
        out.scalars.reserve_exact(self.len());
        for &field in &chains.fields {
            let start = out.scalars.len();
            let mut at = chains.first(field);
            while let Some(entry) = self.get(at as usize) {
                if entry.is_scalar() {
                    out.scalars.push(Place { element: entry.element, at });
                }
                at = chains.next.get(at as usize).copied().unwrap_or(NONE);
            }
            let own = out.scalars.get_mut(start..).unwrap_or_default();
            if !own.is_sorted() {
                own.sort_unstable();
            }
            out.fields.insert(field, (narrow(start), narrow(out.scalars.len())));
        }
        out
    }

    /// The scalar at a place.
    pub(crate) fn at(&self, place: Place) -> Option<Entry<'a>> {
        self.get(place.at as usize)
    }

    /// Number of values, including containers.
    pub(crate) fn len(&self) -> usize {
        self.document.leaves.len() + self.entries.len()
    }

    /// The field and the element of each value, including containers, in the order of the message.
    pub(crate) fn fields_and_elements(&self) -> impl Iterator<Item = (FieldId, u32)> {
        fields_and_elements(self.document, self.entries)
    }

    /// Visits all values, including containers, of fields for which `asked` holds, in the order of the message.
    #[inline]
    pub(crate) fn visit(&self, asked: impl Fn(FieldId) -> bool, mut visit: impl FnMut(Entry<'a>)) {
        let (mut leaves, mut others) = (self.document.leaves.iter(), self.entries.iter());
        // `visit` is called in one place only, so that it is inlined into the loop.
        loop {
            let entry = if let Some(leaf) = leaves.next() {
                if !asked(leaf.field) {
                    continue;
                }
                self.document.entry(leaf)
            } else if let Some(entry) = others.next() {
                if !asked(entry.field) {
                    continue;
                }
                *entry
            } else {
                break;
            };
            visit(entry);
        }
    }

    /// Whether `is` holds for some value of a field, including containers. Calls it in the order of the message.
    #[inline]
    pub(crate) fn any(&self, field: FieldId, mut is: impl FnMut(&Entry<'a>) -> bool) -> bool {
        let Some(chains) = self.chains else {
            let leaves = self.document.leaves.iter();
            return leaves.filter(|leaf| leaf.field == field).any(|leaf| is(&self.document.entry(leaf)))
                || self.entries.iter().any(|entry| entry.field == field && is(entry));
        };
        let mut at = chains.first(field);
        while let Some(entry) = self.get(at as usize) {
            if is(&entry) {
                return true;
            }
            at = chains.next.get(at as usize).copied().unwrap_or(NONE);
        }
        false
    }

    /// The value at this position.
    fn get(&self, at: usize) -> Option<Entry<'a>> {
        let leaves = self.document.leaves;
        match leaves.get(at) {
            Some(leaf) => Some(self.document.entry(leaf)),
            None => self.entries.get(at - leaves.len()).copied(),
        }
    }

    /// Whether a field has a scalar.
    pub(crate) fn has_scalar(&self, field: FieldId) -> bool {
        self.any(field, Entry::is_scalar)
    }

    /// The values of a field as shortened JSON text; `None` if it has none.
    pub(crate) fn shown(&self, field: FieldId) -> Option<String> {
        const COUNT: usize = 4;
        let (mut first, mut scalars) = (None, Vec::new());
        self.any(field, |entry| {
            first = first.or(Some(*entry));
            scalars.extend(entry.is_scalar().then_some(*entry));
            false
        });
        match scalars.as_slice() {
            [] => first.map(|entry| entry.shown()),
            [one] => Some(one.shown()),
            many => {
                let mut out = String::from("[");
                for (index, entry) in many.iter().take(COUNT).enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    out.push_str(&entry.shown());
                }
                out.push_str(if many.len() > COUNT { ", …]" } else { "]" });
                Some(out)
            }
        }
    }
}

fn fields_and_elements<'a>(
    document: Document<'a>,
    entries: &'a [Entry<'a>],
) -> impl Iterator<Item = (FieldId, u32)> + use<'a> {
    let leaves = document.leaves.iter().map(|leaf| (leaf.field, leaf.element));
    leaves.chain(entries.iter().map(|entry| (entry.field, entry.element)))
}
