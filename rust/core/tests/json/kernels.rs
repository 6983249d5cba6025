//! The scanner's kernels: each gives what the plainest one gives, and the environment can force one.

use std::process::{Command, Output};

use proptest::prelude::*;
use waypost_core::json::{DuplicateKeys, Error, Kernel, Kind, Options, PathTrie, Scan, scan, scan_with};

const LAST: Options = Options { depth: 128, duplicate_keys: DuplicateKeys::Last };

type Recorded = (Vec<(u32, u32, u32, u32, Kind)>, Vec<(u32, u32, u32)>);

fn trie() -> PathTrie {
    let mut trie = PathTrie::new();
    let long = "a key that is longer than what is compared at once";
    for (field, path) in (0..).zip([&[][..], &["a"], &["a", "b"], &["b"], &["é"], &["a", long], &[long]]) {
        trie.insert(path, field);
    }
    trie
}

/// What is recorded of a body by all kernels, or refused.
#[track_caller]
fn same(body: &[u8], trie: &PathTrie, options: Options) -> Result<Recorded, Error> {
    let mut found = Scan::default();
    let mut by = |kernel| {
        let text = scan_with(kernel, body, trie, options, &mut found)?;
        assert_eq!(text.as_bytes(), body);
        let leaves =
            found.leaves.iter().map(|leaf| (leaf.field, leaf.element, leaf.start, leaf.end, leaf.kind));
        let elements = found.elements.iter().map(|element| (element.parent, element.array, element.end));
        Ok((leaves.collect(), elements.collect()))
    };
    let expected = by(Kernel::Scalar);
    for kernel in Kernel::available() {
        assert_eq!(by(kernel), expected, "{} on {:?}", kernel.name(), String::from_utf8_lossy(body));
    }
    expected
}

/// However full the list of tokens is where a body ends.
#[test]
fn bodies_of_tokens_alone_end_anywhere() {
    for count in (1..20).chain(480..580).chain(1000..1100) {
        let [valid, open] = ["]", ""].map(|end| format!("[{}0{end}", "0,".repeat(count)));
        let (leaves, _) = same(valid.as_bytes(), &trie(), LAST).unwrap();
        assert_eq!(leaves[0], (0, 0, 0, u32::try_from(valid.len()).unwrap(), Kind::Array));
        assert_eq!(leaves.len(), 1 + count + 1);
        assert_eq!(same(open.as_bytes(), &trie(), LAST).unwrap_err().offset, open.len());
    }
}

/// Every place relative to blocks for what comes behind it, valid or not, at the end of the body and not.
#[test]
fn kernels_agree_wherever_blocks_begin() {
    let trie = trie();
    for piece in [
        r#"{"a":{"b":1,"b":2},"b":"x\"y\\","\u0061":[-1.5e3,null]}"#,
        r#"["\\\\","\\\"",true,{"a":false}]"#,
        "\"\u{e9}\u{20ac}\u{1f600}\"",
        "[0.25,12345678901234567890,-0,1e999]",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\u00zz\"",
        "\"\\x\"",
        "\"a\tb\"",
        "\"ab",
        "\"ab\\",
        "[1,2",
        "12x",
        "\x0C1",
        "\\\"",
    ] {
        for padding in 0..200 {
            for body in [
                format!("{}{piece}", " ".repeat(padding)),
                format!("[\"{}\",{piece}]", "x".repeat(padding)),
                format!("[\"{}\\n\",{piece}]", "\\\\".repeat(padding / 2)),
                format!("[{piece},\"{}\"]", "é".repeat(padding)),
                format!("{piece}{}", "\n".repeat(padding)),
            ] {
                let _ = same(body.as_bytes(), &trie, LAST);
            }
        }
        let long = [r#"{"b":""#, "line\\n".repeat(9000).as_str(), r#"","a":"#, piece, "}"].concat();
        let _ = same(long.as_bytes(), &trie, Options::default());
    }
}

/// Text is checked in pieces, which must not matter to characters that lie across them.
#[test]
fn characters_may_lie_anywhere() {
    let trie = trie();
    for text in ["é", "€", "\u{1f600}"] {
        for shift in [0, 1, 2, 3, 16_380, 16_381, 16_382, 16_383] {
            let body = format!("{{\"a\":\"{}{}\"}}", "x".repeat(shift), text.repeat(10_000));
            assert!(same(body.as_bytes(), &trie, LAST).is_ok());
            for broken in [shift + 6, shift + 6 + text.len() * 4000, body.len() - 2 - text.len()] {
                for cut in 0..text.len() {
                    // A byte too few.
                    let mut body = body.clone().into_bytes();
                    body.remove(broken + cut);
                    let error = same(&body, &trie, LAST).unwrap_err();
                    assert_eq!((error.code(), error.offset), ("invalid_utf8", broken));
                }
            }
        }
    }
}

#[test]
fn keys_that_differ_behind_what_is_compared_at_once_differ() {
    let trie = trie();
    let long = "a key that is longer than what is compared at once";
    let body =
        format!(r#"{{"{long}":1,"{long}!":2,"a":{{"{long}":3,"{}":4}}}}"#, long.replace("once", "ONCE"));
    let (leaves, _) = same(body.as_bytes(), &trie, Options::default()).unwrap();
    let text = |&(field, _, start, end, _): &(u32, u32, u32, u32, Kind)| {
        (field, &body[start as usize..end as usize])
    };
    let seen: Vec<_> = leaves.iter().map(text).filter(|leaf| leaf.0 != 0 && leaf.0 != 1).collect();
    assert_eq!(seen, [(6, "1"), (5, "3")]);
    // Lengths around 16, padded to the same 16 bytes, at the end of the body.
    for length in 0..20 {
        let key = "k".repeat(length);
        let body = format!(r#"{{"{key}\u0000":1,"{key}":2}}"#);
        assert!(same(body.as_bytes(), &trie, Options::default()).is_ok());
        let body = format!(r#"{{"{key}":1,"{key}":2}}"#);
        assert_eq!(same(body.as_bytes(), &trie, Options::default()).unwrap_err().code(), "duplicate_key");
    }
}

/// Tracked keys are told apart by their nodes, the others by comparing, of wide objects only at the end.
#[test]
fn the_first_second_copy_is_reported_tracked_or_not() {
    let trie = trie();
    let others = (0..20).map(|index| format!("\"k{index}\":0,")).collect::<Vec<_>>().concat();
    for members in [
        r#""a":1,"b":{"a":1},>"a":2"#.to_owned(),
        r#""a":1,>"\u0061":2,"b":1,"b":2"#.to_owned(),
        r#""\u0061":1,"c":1,>"a":2,"c":2"#.to_owned(),
        r#""a":1,"c":1,>"c":2,"a":2"#.to_owned(),
        format!(r#"{others}>"k19":1,"a":1,"a":2"#),
        format!(r#""a":1,{others}>"a":2,"k19":1"#),
        format!(r#""a":1,{others}>"k3":1,"a":2"#),
    ] {
        let body = format!("[{{\"a\":0}},{{{members}}}]");
        let offset = body.find('>').unwrap();
        let error = same(body.replace('>', "").as_bytes(), &trie, Options::default()).unwrap_err();
        assert_eq!((error.code(), error.offset), ("duplicate_key", offset), "{body}");
    }
    // The same objects again, with the same buffers.
    assert!(same(br#"[{"a":0},{"a":1},{"b":{"a":1},"a":2}]"#, &trie, Options::default()).is_ok());
}

/// Run by the tests below in a process of its own; it says which kernel there is in use.
#[test]
#[ignore = "a part of other tests"]
fn report() {
    scan(b"[1]", &PathTrie::new(), Options::default(), &mut Scan::default()).unwrap();
    println!("in use: {}.", Kernel::chosen().name());
}

fn forced(name: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kernels::report", "--ignored", "--nocapture"])
        .env("WAYPOST_SIMD", name)
        .output()
        .unwrap()
}

#[test]
fn the_environment_forces_a_kernel() {
    for kernel in Kernel::available() {
        let output = forced(kernel.name());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(&format!("in use: {}.", kernel.name())), "{said}");
        assert!(!String::from_utf8(output.stderr).unwrap().contains("WAYPOST_SIMD"));
    }
}

#[test]
fn a_name_that_stands_for_no_kernel_is_reported_and_the_best_one_used() {
    for name in ["", "AVX2", "none", "avx2 "] {
        let output = forced(name);
        let best = Kernel::available().next().unwrap().name();
        let warned = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success());
        assert_eq!(warned.matches(&format!("WAYPOST_SIMD={name} is not a kernel")).count(), 1, "{warned}");
        assert!(warned.contains("scalar") && warned.contains(&format!("using {best}")), "{warned}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(&format!("in use: {best}.")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn kernels_agree_on_token_soup(
        tokens in prop::collection::vec(prop::sample::select(&[
            "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\"b\"", "\"\\u0061\"", "\"a\":", ",\"b\":", "0", "-1.5", "e",
            "true", "null", " ", "          ", "\n", "\\", "\\\\", "\\n", "\\ud83d\\ude00", "\u{1f}", "\u{e9}", "\u{1f600}",
            "a string of more than sixty-four bytes, which goes over the end of the block that it is in",
        ][..]), 0..80),
        cut in any::<prop::sample::Index>(),
        strict in any::<bool>(),
    ) {
        let options = if strict { Options::default() } else { LAST };
        let trie = trie();
        let body = tokens.concat().into_bytes();
        let _ = same(&body, &trie, options);
        let _ = same(&body[cut.index(body.len() + 1)..], &trie, options);
        let valid = serde_json::to_vec(&tokens).unwrap();
        prop_assert!(same(&valid, &trie, options).is_ok());
    }
}
