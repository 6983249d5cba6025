//! The kernels that run over bytes nobody looks at: string content and whitespace.
//!
//! Everything whose speed depends on the instruction set is here, behind these two functions. They are
//! portable: eight bytes at a time in a word for what is usually short, and a loop over blocks that compilers
//! turn into vector instructions for what is long.

/// Bytes per step of the loop for long strings: four registers of the baseline's 16 bytes.
const BLOCK: usize = 64;
/// How much of a string is looked at word by word before blocks are worth it.
const SHORT: usize = 4;

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The first offset from `at` on that holds a quote, a backslash or a control character, else the body's
/// length.
pub(super) fn string(body: &[u8], at: usize) -> usize {
    let mut rest = body.get(at..).unwrap_or_default();
    let end = body.len();
    let mut words = 0;
    loop {
        if words >= SHORT {
            while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
                if block.iter().fold(0, |any, &byte| any | stops(byte)) != 0 {
                    break;
                }
                rest = behind;
            }
            // The block holds a stop, or too little is left for one.
            words = 0;
        }
        let Some((word, behind)) = rest.split_first_chunk::<8>() else { break };
        let found = stops_in(u64::from_le_bytes(*word));
        if found != 0 {
            return end - rest.len() + (found.trailing_zeros() / 8) as usize;
        }
        rest = behind;
        words += 1;
    }
    let tail = rest.iter().position(|&byte| stops(byte) != 0).unwrap_or(rest.len());
    end - rest.len() + tail
}

/// Not 0 for a byte that stops a string; a number, so that the loop over a block has no branches.
fn stops(byte: u8) -> u8 {
    u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20)
}

/// The high bit of each byte that stops a string. Bits above the lowest set one may be wrong (a subtraction
/// borrows upwards from a byte that matches), which is why only the lowest is used.
fn stops_in(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    ((quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word))
        & HIGHS
}

/// The first offset from `at` on that holds no whitespace (RFC 8259 section 2), else the body's length.
#[inline]
pub(super) fn whitespace(body: &[u8], at: usize) -> usize {
    match body.get(at) {
        Some(&byte) if byte > b' ' => at,
        _ => whitespace_run(body, at),
    }
}

fn whitespace_run(body: &[u8], at: usize) -> usize {
    let mut rest = body.get(at..).unwrap_or_default();
    loop {
        // Indentation is spaces.
        while let Some((b"        ", behind)) = rest.split_first_chunk::<8>() {
            rest = behind;
        }
        match rest.split_first() {
            Some((b' ' | b'\n' | b'\r' | b'\t', behind)) => rest = behind,
            _ => return body.len() - rest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_stops_at_exactly_the_quote_the_backslash_and_control_characters() {
        for byte in 0..=u8::MAX {
            // Every position relative to words and blocks, with neighbours that borrow would confuse.
            for filler in [b'a', b'!', b'#', b'[', b']', b' ', 0x7F, 0x80, 0xFF] {
                for at in 0..200 {
                    let mut body = vec![filler; 203];
                    body[at] = byte;
                    let expected = if byte == b'"' || byte == b'\\' || byte < 0x20 { at } else { 203 };
                    assert_eq!(string(&body, 0), expected, "byte {byte:#x} at {at} among {filler:#x}");
                }
            }
        }
    }

    #[test]
    fn string_starts_where_it_is_told_and_never_passes_the_end() {
        for length in 0..150 {
            let body = vec![b'"'; length];
            for at in 0..length + 2 {
                assert_eq!(string(&body, at), at.min(length));
            }
            let body = vec![b'a'; length];
            for at in 0..length + 2 {
                assert_eq!(string(&body, at), length);
            }
        }
    }

    #[test]
    fn whitespace_is_four_characters() {
        for byte in 0..=u8::MAX {
            for at in 0..40 {
                let mut body = vec![b' '; 41];
                body[at] = byte;
                let expected = if b" \n\r\t".contains(&byte) { 41 } else { at };
                assert_eq!(whitespace(&body, 0), expected);
            }
        }
    }
}
