//! Tests every kernel against the scalar one, and that against a tokenizer that reads byte by byte.

use proptest::prelude::*;

use super::masks::{Carry, Strings, Structure, Unicode, parity};
use super::*;
use crate::json::error::{Error, ErrorKind};

/// All that a kernel computes about a block.
#[derive(Debug, PartialEq)]
struct Answers {
    quiet: bool,
    quote: u64,
    backslash: u64,
    control: bool,
    structure: Structure,
    escapes: u64,
    unicode: Unicode,
    controls: u64,
}

/// Calls all functions of a kernel for a block.
macro_rules! ask {
    ($kernel:ident, $block:expr) => {{
        use $kernel::{controls, escapes, load, quiet, strings, structure, unicode};
        let bytes = load($block);
        let Strings { quote, backslash, control } = strings(bytes);
        Answers {
            quiet: quiet(bytes),
            quote,
            backslash,
            control: control != 0,
            structure: structure(bytes),
            escapes: escapes(bytes),
            unicode: unicode(bytes),
            controls: controls(bytes),
        }
    }};
}

/// Computes the same by the definitions.
fn defined(block: &[u8; BLOCK]) -> Answers {
    let mask =
        |class: &[u8]| (0..BLOCK).filter(|&at| class.contains(&block[at])).fold(0, |mask, at| mask | 1 << at);
    let controls: Vec<u8> = (0..0x20).collect();
    Answers {
        quiet: mask(b"\"\\") | mask(&controls) == 0,
        quote: mask(b"\""),
        backslash: mask(b"\\"),
        control: mask(&controls) != 0,
        structure: Structure { space: mask(b" \t\n\r"), operator: mask(b"{}[]:,\x0C\x1A") },
        escapes: mask(b"/bfnrt"),
        unicode: Unicode {
            u: mask(b"u"),
            hex: mask(b"0123456789abcdefABCDEF"),
            high: mask(b"89abcdefABCDEF"),
            d: mask(b"dD"),
        },
        controls: mask(&controls),
    }
}

#[cfg(target_arch = "x86_64")]
fn others(block: &[u8; BLOCK]) -> Vec<Answers> {
    // SAFETY: every x86-64 processor has SSE2.
    let mut all = vec![unsafe { ask!(sse2, block) }];
    if Kernel::Avx2.detected() {
        // SAFETY: just detected.
        all.push(unsafe { ask!(avx2, block) });
    }
    if Kernel::Avx512.detected() {
        // SAFETY: just detected.
        all.push(unsafe { ask!(avx512, block) });
    }
    all
}

#[cfg(target_arch = "aarch64")]
fn others(block: &[u8; BLOCK]) -> Vec<Answers> {
    // SAFETY: every aarch64 processor with a standard library has NEON.
    vec![unsafe { ask!(neon, block) }]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn others(_: &[u8; BLOCK]) -> Vec<Answers> {
    Vec::new()
}

#[track_caller]
fn agree(block: &[u8; BLOCK]) {
    let expected = defined(block);
    for answers in others(block).into_iter().chain([ask!(scalar, block)]) {
        assert_eq!(answers, expected, "{block:?}");
    }
}

#[test]
fn every_byte_is_classified_at_every_place() {
    for byte in 0..=u8::MAX {
        for at in 0..BLOCK {
            for filler in [b'a', b' ', b'"', 0x00, 0xFF] {
                let mut block = [filler; BLOCK];
                block[at] = byte;
                agree(&block);
            }
        }
    }
}

#[test]
fn parity_counts_the_bits_up_to_each_one() {
    let check = |mask: u64| {
        let expected = (0..64).fold(0, |all, at| all | u64::from((mask << (63 - at)).count_ones() % 2) << at);
        assert_eq!(parity(mask), expected);
        #[cfg(target_arch = "x86_64")]
        if Kernel::Avx2.detected() {
            // SAFETY: just detected.
            assert_eq!(unsafe { avx2::parity(mask) }, expected);
        }
    };
    [0, u64::MAX, 0x5555_5555_5555_5555, 0x8000_0000_0000_0001].into_iter().for_each(check);
    for low in 0..64 {
        for high in 0..64 {
            check(1 << low | 1 << high);
        }
    }
}

/// All tokens or quotes of a body by one kernel, listed into room for `room` of them, up to the first fault.
fn all(look: Look, kernel: Available, body: &[u8], room: usize) -> (Vec<u32>, Carry) {
    let (mut carry, mut at, mut all) = (Carry::default(), 0, Vec::new());
    while at < body.len() && carry.fault.is_none() {
        let mut buffer = TokenBuffer::default();
        let mut list = buffer.clear();
        let listed = list.fill_up(room);
        let filled = kernel.fill(look, body, at, &mut carry, &mut list);
        list.add(filled.tokens);
        let end = body.len().min(at + filled.blocks * BLOCK);
        assert!(filled.blocks > 0);
        assert_eq!(filled.ascii, body[at..end].is_ascii());
        let (listing, count) = list.list_mut();
        let (kinds, offsets) = (&listing.kinds[listed..count], &listing.offsets[listed..count]);
        if look == Look::Tokens {
            assert!(kinds.iter().zip(offsets).all(|(&kind, &offset)| body[offset as usize] == kind));
        }
        all.extend_from_slice(offsets);
        at = end;
    }
    (all, carry)
}

/// All tokens, and the fault in a string, if there is one.
fn tokens(kernel: Available, body: &[u8], room: usize) -> (Vec<u32>, Option<Error>) {
    let (tokens, carry) = all(Look::Tokens, kernel, body, room);
    (tokens, carry.fault)
}

/// Computes the same byte by byte.
fn listed(body: &[u8]) -> (Vec<u32>, Option<Error>) {
    let (mut tokens, mut at, mut word) = (Vec::new(), 0, false);
    while at < body.len() {
        let token = u32::try_from(at).unwrap();
        match body[at] {
            b'"' => {
                word = false;
                tokens.push(token);
                at += 1;
                while at < body.len() && body[at] != b'"' {
                    let fault = match body[at] {
                        b'\\' => crate::json::escape::check(body, at),
                        0..0x20 => Err(Error { kind: ErrorKind::ControlCharacter, offset: at }),
                        _ => Ok(at + 1),
                    };
                    match fault {
                        Ok(behind) => at = behind,
                        // A kernel does not report the end of the body, except within an escape.
                        Err(error) if error.offset == body.len() => return (tokens, None),
                        Err(error) => return (tokens, Some(error)),
                    }
                }
                if at < body.len() {
                    tokens.push(u32::try_from(at).unwrap());
                }
            }
            b' ' | b'\t' | b'\n' | b'\r' => word = false,
            b'{' | b'}' | b'[' | b']' | b':' | b',' | 0x0C | 0x1A => {
                tokens.push(token);
                word = false;
            }
            _ => {
                if !word {
                    tokens.push(token);
                }
                word = true;
            }
        }
        at += 1;
    }
    (tokens, None)
}

/// All quotes that open or close strings, and the number of control characters; or the fault.
fn quotes(kernel: Available, body: &[u8], room: usize) -> Result<(Vec<u32>, usize), Error> {
    let (quotes, carry) = all(Look::Quotes, kernel, body, room);
    carry.fault.map_or(Ok((quotes, carry.controls)), Err)
}

/// Computes the same byte by byte.
fn quoted(body: &[u8]) -> Result<(Vec<u32>, usize), Error> {
    let (mut quotes, mut at) = (Vec::new(), 0);
    while at < body.len() {
        match body[at] {
            b'\\' => {
                at = crate::json::escape::check(body, at)?;
                continue;
            }
            b'"' => quotes.push(u32::try_from(at).unwrap()),
            _ => {}
        }
        at += 1;
    }
    Ok((quotes, body.iter().filter(|byte| **byte < 0x20).count()))
}

fn same_quotes(body: &[u8]) {
    let expected = quoted(body);
    for kernel in Kernel::available().map(Available) {
        for room in [masks::ROOM, 100, 1000] {
            let seen = quotes(kernel, body, room);
            // A kernel does not report that the body ends within an escape.
            let ends_early = expected.as_ref().is_err_and(|error| error.offset >= body.len());
            assert!(seen == expected || ends_early, "{kernel:?} {:?}", String::from_utf8_lossy(body));
        }
    }
}

fn same_tokens(body: &[u8]) {
    same_quotes(body);
    let text = String::from_utf8_lossy(body);
    let expected = tokens(Available(Kernel::Scalar), body, 1000);
    for kernel in Kernel::available().map(Available) {
        for room in [masks::ROOM, 100, 1000] {
            assert_eq!(tokens(kernel, body, room), expected, "{kernel:?} {text:?}");
        }
    }
    let (mut seen, fault) = expected;
    let (mut defined, broken) = listed(body);
    // After a backslash outside strings, which no valid document has, quotes are classified differently.
    let stray = (0..body.len()).find(|&at| {
        body[at] == b'\\'
            && defined.iter().filter(|&&token| (token as usize) < at && body[token as usize] == b'"').count()
                % 2
                == 0
    });
    if let Some(stray) = stray {
        for tokens in [&mut seen, &mut defined] {
            tokens.retain(|&token| (token as usize) < stray);
        }
        assert_eq!(seen, defined, "{text:?}");
    } else {
        let fault = fault.filter(|fault| fault.offset < body.len());
        assert_eq!((seen, fault), (defined, broken), "{text:?}");
    }
}

#[test]
fn tokens_do_not_depend_on_where_blocks_begin() {
    for snippet in [
        r#"{"a":[1,"b\"c",true]}"#,
        r#""\\" "\\\" \\\\" "\\\\\"" x"#,
        r#"["\u0041","\ud83d\ude00\n"] 1.5e3 null"#,
        r#""\u0430\u0431\u0432\uD7A3\uE000\ud834\uDD1E\u0433""#,
        r#""\u0430\u0431\u043G\u0433""#,
        r#""\u0430\u0431\uDD1E\u0433""#,
        "\"caf\u{e9} \u{1f600}\" , \"a\nb\" [",
        "\"\\u00e\" 1",
        "\"\\ud83d\\u0041\" 1",
        "\"ab\\",
        "\"ab\\u12",
        "\"abc\x01\\q\"",
        "  12  34:56,,{}",
    ] {
        for padding in 0..2 * BLOCK + 2 {
            // Outside strings, within a string, after backslashes.
            same_tokens([&vec![b' '; padding], snippet.as_bytes()].concat().as_slice());
            same_tokens(
                [b"\"", vec![b'x'; padding].as_slice(), b"\",", snippet.as_bytes()].concat().as_slice(),
            );
            same_tokens(
                [b"\"", b"\\\\".repeat(padding).as_slice(), b"\"", snippet.as_bytes()].concat().as_slice(),
            );
            same_tokens([b"\"", vec![b'\\'; padding].as_slice(), snippet.as_bytes()].concat().as_slice());
            same_tokens([snippet.as_bytes(), &vec![b'9'; padding]].concat().as_slice());
        }
    }
}

#[test]
fn a_long_string_is_passed_no_further_than_it_goes() {
    for length in 0..8 * BLOCK {
        for end in ["\",1,[2,3]", "\\n\",1", "\n\",1", "\\\"\",1", "\\\\\",1", "\\q\",1", "\u{e9}\",1"] {
            // The following blocks have no quote, backslash or control character.
            same_tokens(format!("[\"{}{end}{}", "x".repeat(length), ", 45".repeat(2 * BLOCK)).as_bytes());
        }
    }
}

#[test]
fn a_name_that_stands_for_no_kernel_is_none() {
    for kernel in Kernel::available() {
        assert_eq!(Available::named(OsStr::new(kernel.name())).map(|kernel| kernel.0), Some(kernel));
    }
    for name in ["", "AVX2", "avx-512", " scalar", "1"] {
        assert!(Available::named(OsStr::new(name)).is_none());
    }
    assert!(Available::or_scalar(Kernel::Scalar).0 == Kernel::Scalar);
}

proptest! {
    #[test]
    fn kernels_agree_on_any_block(block in prop::array::uniform32(any::<[u8; 2]>())) {
        agree(block.as_flattened().first_chunk().unwrap());
    }

    #[test]
    fn kernels_agree_on_any_body(
        pieces in prop::collection::vec(prop::sample::select(&[
            "\"", "\"", "\\", "\\\\", "\\\"", "\\n", "\\u00e9", "\\ud834\\udd1e", "\\ud834", "\\uD7FF", "\\u00A", "\\q", "{", "}", "[", "]",
            ":", ",", " ", "\t", "\n", "0", "-1.5e3", "true", "text of some words", "\u{e9}", "\u{1d11e}",
            "a string that is longer than a block of sixty-four bytes is, and so runs over the end of one",
            "\x0C", "\x1F",
        ][..]), 0..60),
        skipped in 0..64usize,
    ) {
        let body = pieces.concat();
        same_tokens(body.as_bytes().get(skipped..).unwrap_or_default());
    }
}
