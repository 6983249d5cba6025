//! Lists only the quotes of strings.

use super::{Carry, Classify, MOST, ROOM, Strings, Unicode, behind_escapes, inspect, pass_string};
use crate::json::kernels::BLOCK;
use crate::json::kernels::tokens::Tokens;
use crate::json::narrow;

/// Lists the quotes that open or close strings, as `list_tokens` lists tokens. It does not determine what is inside strings:
/// all escapes are checked, and all control characters are counted.
#[inline(always)]
pub(super) fn list_quotes<B, L, F, Q, S, T, E, U, C, P, W, M>(
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens<'_>,
    classify: &Classify<L, F, Q, S, T, E, U, C, P, W, M>,
) -> (usize, usize)
where
    B: Copy,
    L: Fn(&[u8; BLOCK]) -> B,
    F: Fn(&[u8], &mut [u8; BLOCK]) -> B,
    Q: Fn(B) -> bool,
    S: Fn(B) -> Strings,
    E: Fn(B) -> u64,
    U: Fn(B) -> Unicode,
    C: Fn(B) -> u64,
    M: Fn(u64, u32, &mut [u32; ROOM]) -> usize,
{
    let (blocks, tail) = body.get(from..).unwrap_or_default().as_chunks::<BLOCK>();
    let mut padded = [b' '; BLOCK];
    let mut escaped = carry.escaped;
    let mut backslashes = carry.backslashes;
    let (list, listed) = tokens.list_mut();
    let (mut passed, mut written, mut was_text) = (0, listed, false);
    while passed < MOST
        && let Some(offsets) = list.offsets.get_mut(written..).and_then(<[u32]>::first_chunk_mut::<ROOM>)
    {
        if was_text {
            let inside = blocks.get(passed..blocks.len().min(MOST)).unwrap_or_default();
            let (count, any) = pass_string(inside, &mut escaped, classify);
            if count > 0 {
                backslashes.note(any, from + passed * BLOCK, count);
                passed += count;
            }
        }
        let bytes = match blocks.get(passed) {
            Some(block) => (classify.load)(block),
            None if passed == blocks.len() && !tail.is_empty() => (classify.load_tail)(tail, &mut padded),
            None => break,
        };
        let at = from + passed * BLOCK;
        passed += 1;
        let strings @ Strings { quote, backslash, control } = (classify.strings)(bytes);
        let behind = behind_escapes(backslash, &mut escaped);
        backslashes.note(backslash, at, 1);
        let quotes = quote & !behind;
        if behind | control != 0 {
            let suspects = classify.suspects(bytes, strings, behind);
            if suspects != 0 && inspect(body, at, suspects, behind, carry).is_some() {
                break;
            }
            if control != 0 {
                carry.controls += (classify.controls)(bytes).count_ones() as usize;
            }
        }
        was_text = quotes == 0;
        written += (classify.positions)(quotes, narrow(at), offsets);
    }
    carry.escaped = escaped;
    carry.backslashes = backslashes;
    (passed, written - listed)
}
