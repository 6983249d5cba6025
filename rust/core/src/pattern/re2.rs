//! The syntax of regular expressions: RE2's, as its page "Syntax" describes it.
//!
//! `regex-syntax` parses a related syntax, which has more, and whose classes are Unicode's. Here, what it has beyond RE2 is an
//! error wherever RE2 gives the same text another meaning, or none: then an expression that works elsewhere never silently
//! means something else. `\d`, `\s`, `\w` and `\b` are ASCII's, as in RE2. Some rare forms of RE2 are errors too: `\Q…\E`, `\C`,
//! octal escapes, and braces and brackets that stand for themselves without a backslash.

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassBracketed, ClassPerlKind, ClassSet, ClassSetItem, ClassSetRange,
    ClassSetUnion, ClassUnicodeKind, Flag, Flags, FlagsItem, FlagsItemKind, Group, GroupKind, HexLiteralKind,
    Literal, LiteralKind, RepetitionKind, RepetitionRange, Span,
};
use regex_syntax::hir::Hir;
use regex_syntax::hir::translate::TranslatorBuilder;

/// How deep groups may be nested.
const NESTING: u32 = 64;

/// The most that one repetition may ask for.
const REPETITIONS: u32 = 1000;

/// Parses an expression. The error says what is wrong, and where.
pub(super) fn parse(source: &str) -> Result<Hir, String> {
    let mut tree = ast::parse::ParserBuilder::new()
        .nest_limit(NESTING)
        .build()
        .parse(source)
        .map_err(|error| at(&explain(error.kind(), error.span(), source), error.span(), source))?;
    Reader { source }.expression(&mut tree)?;
    TranslatorBuilder::new()
        .build()
        .translate(source, &tree)
        .map_err(|error| at(&error.kind().to_string(), error.span(), source))
}

/// A message with the part of the expression that it is about.
fn at(message: &str, span: &Span, source: &str) -> String {
    const SHOWN: usize = 40;
    let part = source.get(span.start.offset..span.end.offset).unwrap_or_default();
    let character = source.get(..span.start.offset).map_or(0, |before| before.chars().count()) + 1;
    if part.is_empty() || part == source {
        return format!("{message}, at character {character}");
    }
    let shown: String = part.chars().take(SHOWN).collect();
    let more = if shown.len() < part.len() { "…" } else { "" };
    format!("{message}, at character {character}: `{shown}{more}`")
}

fn explain(kind: &ast::ErrorKind, span: &Span, source: &str) -> String {
    use ast::ErrorKind as Kind;
    let part = source.get(span.start.offset..span.end.offset).unwrap_or_default();
    match kind {
        Kind::UnsupportedBackreference if part.starts_with("\\0") => {
            "octal escapes are not supported; write `\\x{…}` with hexadecimal digits".to_owned()
        }
        Kind::EscapeUnrecognized
            if matches!(part, "\\Q" | "\\E" | "\\C" | "\\Z" | "\\G" | "\\K" | "\\R" | "\\X") =>
        {
            format!("`{part}` is not supported")
        }
        Kind::RepetitionMissing | Kind::RepetitionCountUnclosed if source.contains('{') => {
            format!("{kind}; for a brace itself, write `\\{{`")
        }
        Kind::RepetitionCountDecimalEmpty => {
            "a repetition is {n}, {n,} or {n,m}; for a brace itself, write `\\{`".to_owned()
        }
        Kind::ClassUnclosed => format!("{kind}; for a bracket itself, write `\\[`"),
        Kind::SpecialWordBoundaryUnclosed
        | Kind::SpecialWordBoundaryUnrecognized
        | Kind::SpecialWordOrRepetitionUnexpectedEof => "`\\b{` is not supported; write `\\b`".to_owned(),
        Kind::FlagUnrecognized => FLAGS.to_owned(),
        _ => kind.to_string(),
    }
}

const FLAGS: &str = "the flags are i, m, s and U";

struct Reader<'s> {
    source: &'s str,
}

impl Reader<'_> {
    fn fail<T>(&self, message: impl Into<String>, span: &Span) -> Result<T, String> {
        Err(at(&message.into(), span, self.source))
    }

    /// Checks an expression, and gives its classes and word boundaries the meaning that RE2 gives them.
    fn expression(&self, tree: &mut Ast) -> Result<(), String> {
        match tree {
            Ast::Empty(_) | Ast::Dot(_) => {}
            Ast::Literal(literal) => self.literal(literal)?,
            Ast::Flags(set) => self.flags(&set.flags)?,
            Ast::ClassUnicode(class) => self.property(&class.kind, &class.span)?,
            Ast::ClassPerl(class) => {
                let (kind, negated, span) = (class.kind.clone(), class.negated, class.span);
                *tree = Ast::class_bracketed(perl(&kind, negated, span));
            }
            Ast::ClassBracketed(class) => self.class(&mut class.kind)?,
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::WordBoundary | AssertionKind::NotWordBoundary => {
                    let inner = Ast::assertion((**assertion).clone());
                    *tree = of_ascii(inner);
                }
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText => {}
                _ => return self.fail("this word boundary is not supported; write `\\b`", &assertion.span),
            },
            Ast::Repetition(repetition) => {
                if matches!(*repetition.ast, Ast::Repetition(_)) {
                    return self.fail(
                        "a repetition of a repetition needs parentheses between them",
                        &repetition.op.span,
                    );
                }
                if let RepetitionKind::Range(
                    RepetitionRange::Exactly(most)
                    | RepetitionRange::AtLeast(most)
                    | RepetitionRange::Bounded(_, most),
                ) = repetition.op.kind
                    && most > REPETITIONS
                {
                    let message =
                        format!("a repetition is of at most {REPETITIONS}; use smaller repetitions");
                    return self.fail(message, &repetition.op.span);
                }
                self.expression(&mut repetition.ast)?;
            }
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags)?;
                }
                self.expression(&mut group.ast)?;
            }
            Ast::Alternation(all) => all.asts.iter_mut().try_for_each(|each| self.expression(each))?,
            Ast::Concat(all) => all.asts.iter_mut().try_for_each(|each| self.expression(each))?,
        }
        Ok(())
    }

    fn flags(&self, flags: &Flags) -> Result<(), String> {
        for item in &flags.items {
            if let FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace) = item.kind {
                return self.fail(FLAGS, &item.span);
            }
        }
        Ok(())
    }

    fn literal(&self, literal: &Literal) -> Result<(), String> {
        match literal.kind {
            LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
            | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
                self.fail("`\\u` and `\\U` are not supported; write `\\x{…}`", &literal.span)
            }
            _ => Ok(()),
        }
    }

    fn property(&self, kind: &ClassUnicodeKind, span: &Span) -> Result<(), String> {
        match kind {
            ClassUnicodeKind::NamedValue { .. } => {
                self.fail("write `\\p{…}` with a category or a script alone, such as `\\p{Greek}`", span)
            }
            ClassUnicodeKind::OneLetter(letter) if is_property(&letter.to_string()) => Ok(()),
            ClassUnicodeKind::Named(name) if is_property(name) => Ok(()),
            _ => self.fail(
                "no category or script has this name; names begin with a capital letter, as in `\\p{Lu}`",
                span,
            ),
        }
    }

    fn class(&self, set: &mut ClassSet) -> Result<(), String> {
        match set {
            ClassSet::Item(item) => self.item(item),
            ClassSet::BinaryOp(operation) => self.fail(
                "`&&`, `--` and `~~` are not supported inside [ ]; for the characters themselves, write `\\&`, `\\-` or `\\~`",
                &operation.span,
            ),
        }
    }

    fn item(&self, item: &mut ClassSetItem) -> Result<(), String> {
        match item {
            ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) => Ok(()),
            ClassSetItem::Literal(literal) => self.literal(literal),
            ClassSetItem::Range(range) => self.literal(&range.start).and_then(|()| self.literal(&range.end)),
            ClassSetItem::Unicode(class) => self.property(&class.kind, &class.span),
            ClassSetItem::Perl(class) => {
                let (kind, negated, span) = (class.kind.clone(), class.negated, class.span);
                *item = ClassSetItem::Bracketed(Box::new(perl(&kind, negated, span)));
                Ok(())
            }
            ClassSetItem::Bracketed(class) => {
                self.fail("[ inside [ ] is not supported; for the bracket itself, write `\\[`", &class.span)
            }
            ClassSetItem::Union(union) => union.items.iter_mut().try_for_each(|item| self.item(item)),
        }
    }
}

/// Whether a name is written as those of categories and scripts are: `Lu`, `Old_Italic`.
fn is_property(name: &str) -> bool {
    name.split('_').all(|word| {
        let mut letters = word.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.all(|c| c.is_ascii_lowercase())
    })
}

/// A class such as `\d` in brackets, as RE2 defines it.
fn perl(kind: &ClassPerlKind, negated: bool, span: Span) -> ClassBracketed {
    let ranges: &[(char, char)] = match kind {
        ClassPerlKind::Digit => &[('0', '9')],
        ClassPerlKind::Space => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        ClassPerlKind::Word => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
    };
    let literal = |c| Literal { span, kind: LiteralKind::Verbatim, c };
    let range = |(start, end): &(char, char)| {
        ClassSetItem::Range(ClassSetRange { span, start: literal(*start), end: literal(*end) })
    };
    let union = ClassSetUnion { span, items: ranges.iter().map(range).collect() };
    ClassBracketed { span, negated, kind: ClassSet::Item(ClassSetItem::Union(union)) }
}

/// An expression for which words consist of ASCII characters.
fn of_ascii(inner: Ast) -> Ast {
    let span = *inner.span();
    let item = |kind| FlagsItem { span, kind };
    let items = vec![item(FlagsItemKind::Negation), item(FlagsItemKind::Flag(Flag::Unicode))];
    Ast::group(Group { span, kind: GroupKind::NonCapturing(Flags { span, items }), ast: Box::new(inner) })
}
