//! What the scanner accepts and refuses, and where it says the fault is.

use waypost_core::json::{
    DEFAULT_DEPTH, DuplicateKeys, Error, ErrorKind, Options, PathTrie, Scan, scan, unescape, validate,
};

use ErrorKind::{
    ByteOrderMark, ControlCharacter, DuplicateKey, ExpectedColon, ExpectedCommaOrBrace,
    ExpectedCommaOrBracket, ExpectedKey, ExpectedValue, InvalidEscape, InvalidNumber, InvalidUtf8,
    LoneSurrogate, TooDeep, TrailingData, UnexpectedEnd,
};

fn check(body: &[u8]) -> Result<(), Error> {
    validate(body, Options::default())
}

#[track_caller]
fn refused(body: &[u8], kind: ErrorKind, offset: usize) {
    assert_eq!(check(body), Err(Error { kind, offset }), "{:?}", String::from_utf8_lossy(body));
}

#[test]
fn accepts_every_form_of_rfc_8259() {
    let accepted: &[&[u8]] = &[
        // Any value may be the document.
        b"null",
        b"true",
        b"false",
        b"0",
        b"\"\"",
        b"{}",
        b"[]",
        b"\"asd\"",
        b"42",
        b"-0.1",
        // Whitespace: exactly four characters, anywhere between tokens.
        b" null",
        b"null\n",
        b"\t\r\n true \t\r\n",
        b" [ ] ",
        b"[\t]",
        b"{\n}",
        b" [ 1 , 2 ] ",
        b" { \"a\" : 1 , \"b\" : 2 } ",
        b"{\r\n        \"a\":\r\n                1\r\n}\r\n",
        // Numbers.
        b"-0",
        b"-1",
        b"10",
        b"1234567890123456789012345678901234567890",
        b"0.0",
        b"0.5",
        b"1.000000000000000000000000000000000000001",
        b"-0.0",
        b"0e0",
        b"0E0",
        b"0e+1",
        b"0E+1",
        b"0e-1",
        b"1e1",
        b"1E22",
        b"1E-2",
        b"1E+2",
        b"1e01",
        b"123e65",
        b"123.456e78",
        b"123.456789",
        b"1e999",
        b"-1e-999",
        b"1e999999999999999999999",
        b"[1e1,20e1,-0]",
        // Strings.
        b"\" \"",
        b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        b"\"\\u0060\\u012a\\u12AB\"",
        b"\"\\u0000\"",
        b"\"\\u0022\\u005C\"",
        b"\"\\\\u0000\"",
        b"\"\\uD801\\udc37\"",
        b"\"\\ud83d\\ude39\\ud83d\\udc8d\"",
        b"\"\\uDBFF\\uDFFF\"",
        b"\"\\uFDD0\\uFFFE\\uFFFF\\uD83F\\uDFFE\"",
        b"\"\\uD7FF\\uE000\"",
        b"\"\x7F\"",
        "\"\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}\"".as_bytes(),
        "\"\u{2028}\u{2029}\u{feff}\u{a0}\"".as_bytes(),
        "\"€𝄞\"".as_bytes(),
        b"\"a/*b*/c/*d//e\"",
        b"\"{}[],:\"",
        // Arrays and objects.
        b"[[]]",
        b"[[],[[]],{}]",
        b"[\"\"]",
        b"[null,1,\"1\",{}]",
        b"[1,null,null,null,2]",
        b"{\"\":0}",
        b"{\"a\":[]}",
        b"{\"a\":{\"a\":{\"a\":1}}}",
        b"{\"a\":1,\"A\":2,\" a\":3,\"a \":4}",
        b"{\"\\u0000\":1,\"\":2}",
        b"[{\"a\":1},{\"a\":1}]",
        b"{\"foo\\u0000bar\": 42}",
        b"{\"min\": -1.0e+28, \"max\": 1.0e+28}",
        "{\"ключ\":\"значение\"}".as_bytes(),
    ];
    for body in accepted {
        assert_eq!(check(body), Ok(()), "{:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn refuses_what_is_no_value() {
    refused(b"", UnexpectedEnd, 0);
    refused(b" ", UnexpectedEnd, 1);
    refused(b"\n\n", UnexpectedEnd, 2);
    refused(b"nul", UnexpectedEnd, 3);
    refused(b"[tru", UnexpectedEnd, 4);
    for body in [
        &b"nulL"[..],
        b"nan",
        b"NaN",
        b"Infinity",
        b"True",
        b"tru3",
        b"FALSE",
        b"fals\0",
        b"undefined",
        b"'a'",
        b"a",
        b"*",
        b"<null>",
        b"+1",
        b".5",
        b"\\u0031",
        b"}",
        b"]",
        b",",
        b":",
        b"\0",
        b"\x0B1",
        b"\x0C1",
        b"//\n1",
        b"/**/1",
        b"#1",
    ] {
        refused(body, ExpectedValue, 0);
    }
    refused("\u{a0}1".as_bytes(), ExpectedValue, 0);
    refused("\u{2060}[]".as_bytes(), ExpectedValue, 0);
    refused("\u{ff11}".as_bytes(), ExpectedValue, 0);
    refused(b"\xEF\xBB\xBF{}", ByteOrderMark, 0);
    refused(b" \xEF\xBB\xBF{}", ExpectedValue, 1);
}

#[test]
fn refuses_data_behind_the_value() {
    for (body, offset) in [
        (&b"1 2"[..], 2),
        (b"nulll", 4),
        (b"truefalse", 4),
        (b"{}}", 2),
        (b"[]]", 2),
        (b"{} {}", 3),
        (b"\"\"\"\"", 2),
        (b"1,", 1),
        (b"[1],", 3),
        (b"2@", 1),
        (b"1\0", 1),
        (b"0x1", 1),
        (b"1_000", 1),
        (b"-1-2", 2),
        (b"1+2", 1),
        (b"1a", 1),
        (b"{}\x0C", 2),
        (b"{\"a\":1}#", 7),
        (b"{\"a\":1}/**/", 7),
    ] {
        refused(body, TrailingData, offset);
    }
    refused("1\u{2060}".as_bytes(), TrailingData, 1);
    refused("{}\u{feff}".as_bytes(), TrailingData, 2);
}

#[test]
fn refuses_numbers_outside_the_grammar() {
    for (body, offset) in [
        (&b"00"[..], 1),
        (b"01", 1),
        (b"-01", 2),
        (b"012", 1),
        (b"[-012]", 3),
        (b"-a", 1),
        (b"--1", 1),
        (b"-+1", 1),
        (b"-.5", 1),
        (b"-Infinity", 1),
        (b"- 1", 1),
        (b"1. ", 2),
        (b"1.a", 2),
        (b"[1.]", 3),
        (b"1.e1", 2),
        (b"1..2", 2),
        (b"0.e1", 2),
        (b"1e ", 2),
        (b"1ee2", 2),
        (b"1e+-2", 3),
        (b"[1e]", 3),
        (b"1e+a", 3),
        (b"0.3e/", 4),
        (b"1eE2", 2),
        (b"9.e+", 2),
    ] {
        refused(body, InvalidNumber, offset);
    }
    for body in [&b"-"[..], b"1.", b"1e", b"1e+", b"0.3E-", b"[-"] {
        refused(body, UnexpectedEnd, body.len());
    }
    refused("1e1\u{b2}".as_bytes(), TrailingData, 3);
    refused(b"1.2.3", TrailingData, 3);
    refused(b"1e2.3", TrailingData, 3);
    refused(b"1e2e3", TrailingData, 3);
}

#[test]
fn refuses_broken_strings() {
    for body in [
        &b"\""[..],
        b"\"abc",
        b"\"\\",
        b"\"\\\"",
        b"\"\\u",
        b"\"\\u00",
        b"\"\\u00A",
        b"\"\\uD800",
        b"\"\\uD800\\",
        b"\"\\uD800\\u",
        b"\"\\uD800\\uDC0",
        b"[\"a",
        b"{\"a",
    ] {
        refused(body, UnexpectedEnd, body.len());
    }
    for byte in 0..0x20 {
        refused(&[b'"', b'a', byte, b'"'], ControlCharacter, 2);
        refused(&[b'{', b'"', byte, b'"', b':', b'1', b'}'], ControlCharacter, 2);
        let mut long = vec![b'x'; 300];
        long[0] = b'"';
        long[299] = b'"';
        long[251] = byte;
        refused(&long, ControlCharacter, 251);
    }
    for byte in (0x20..0x80).filter(|byte| !b"\"\\/bfnrtu".contains(byte)) {
        refused(&[b'"', b'a', b'\\', byte, b'"'], InvalidEscape, 2);
    }
    for body in [
        &b"\"\\u\""[..],
        b"\"\\u1\"",
        b"\"\\u12\"",
        b"\"\\u123\"",
        b"\"\\u123g\"",
        b"\"\\u 123\"",
        b"\"\\u+123\"",
        b"\"\\u-001\"",
        b"\"\\U0000\"",
        b"\"\\x41\"",
        b"\"\\\n\"",
        b"\"\\\0\"",
        "\"\\\u{1f300}\"".as_bytes(),
        "\"\\u\u{ff11}1\"".as_bytes(),
    ] {
        refused(body, InvalidEscape, 1);
    }
    refused(b"\"\\uD800\\u\"", InvalidEscape, 7);
    refused(b"\"\\uD800\\u12\"", InvalidEscape, 7);
}

#[test]
fn refuses_lone_surrogates() {
    for body in [
        &b"\"\\uD800\""[..],
        b"\"\\uDBFF\"",
        b"\"\\uDC00\"",
        b"\"\\uDFFF\"",
        b"\"\\uD800abc\"",
        b"\"\\uD800\\n\"",
        b"\"\\uD800\\\\uDC00\"",
        b"\"\\uD800\\u0041\"",
        b"\"\\uD800\\uD800\\uDC00\"",
        b"\"\\uDC00\\uD800\"",
        b"\"\\ud800\\uE000\"",
    ] {
        refused(body, LoneSurrogate, 1);
    }
    refused(b"\"\\uD83D\\uDE00\\uDE00\"", LoneSurrogate, 13);
    refused(b"{\"\\uD800\":1}", LoneSurrogate, 2);
}

#[test]
fn refuses_broken_arrays_and_objects() {
    for (body, kind, offset) in [
        (&b"["[..], UnexpectedEnd, 1),
        (b"[1", UnexpectedEnd, 2),
        (b"[1,", UnexpectedEnd, 3),
        (b"[1,\n1\n,1", UnexpectedEnd, 8),
        (b"[{}", UnexpectedEnd, 3),
        (b"[[],", UnexpectedEnd, 4),
        (b"[1,]", ExpectedValue, 3),
        (b"[,1]", ExpectedValue, 1),
        (b"[,]", ExpectedValue, 1),
        (b"[1,,2]", ExpectedValue, 3),
        (b"[*]", ExpectedValue, 1),
        (b"[1 2]", ExpectedCommaOrBracket, 3),
        (b"[\"a\" \"b\"]", ExpectedCommaOrBracket, 5),
        (b"[\"a\",4 ,5 6]", ExpectedCommaOrBracket, 10),
        (b"[1:2]", ExpectedCommaOrBracket, 2),
        (b"[\"\": 1]", ExpectedCommaOrBracket, 3),
        (b"[1}", ExpectedCommaOrBracket, 2),
        (b"[3[4]]", ExpectedCommaOrBracket, 2),
        (b"[1\x0C]", ExpectedCommaOrBracket, 2),
        (b"[\x0B1]", ExpectedValue, 1),
        (b"[][", TrailingData, 2),
        (b"{", UnexpectedEnd, 1),
        (b"{\"a\"", UnexpectedEnd, 4),
        (b"{\"a\":", UnexpectedEnd, 5),
        (b"{\"a\":1", UnexpectedEnd, 6),
        (b"{\"a\":1,", UnexpectedEnd, 7),
        (b"{\"a\":1,}", ExpectedKey, 7),
        (b"{,}", ExpectedKey, 1),
        (b"{,\"a\":1}", ExpectedKey, 1),
        (b"{\"a\":1,,\"b\":2}", ExpectedKey, 7),
        (b"{1:1}", ExpectedKey, 1),
        (b"{a:1}", ExpectedKey, 1),
        (b"{'a':1}", ExpectedKey, 1),
        (b"{null:1}", ExpectedKey, 1),
        (b"{[]:1}", ExpectedKey, 1),
        (b"{]", ExpectedKey, 1),
        (b"{\"a\":1 /**/}", ExpectedCommaOrBrace, 7),
        (b"{/**/\"a\":1}", ExpectedKey, 1),
        (b"{\"a\" 1}", ExpectedColon, 5),
        (b"{\"a\",1}", ExpectedColon, 4),
        (b"{\"a\"}", ExpectedColon, 4),
        (b"{\"a\" \"b\"}", ExpectedColon, 5),
        (b"{\"a\":}", ExpectedValue, 5),
        (b"{\"a\"::1}", ExpectedValue, 5),
        (b"{\"a\":,}", ExpectedValue, 5),
        (b"{\"a\":1 \"b\":2}", ExpectedCommaOrBrace, 7),
        (b"{\"a\":1]", ExpectedCommaOrBrace, 6),
        (b"{\"a\":\"a\" 123}", ExpectedCommaOrBrace, 9),
        (b"{\"a\":1:2}", ExpectedCommaOrBrace, 6),
        (b"{\"a\":true false}", ExpectedCommaOrBrace, 10),
        (b"[{\"a\":1],", ExpectedCommaOrBrace, 7),
        (b"{\"a\":[1}", ExpectedCommaOrBracket, 7),
    ] {
        refused(body, kind, offset);
    }
}

#[test]
fn refuses_invalid_utf8_wherever_it_is() {
    for broken in [
        &b"\x80"[..],
        b"\xBF",
        b"\xC0\xAF",
        b"\xC1\xBF",
        b"\xC3\x28",
        b"\xE0\x80\xAF",
        b"\xE2\x28\xA1",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xF0\x80\x80\x80",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\xFE",
        b"\xFF",
        b"\xE2\x82",
    ] {
        for around in [(&b"\""[..], &b"\""[..]), (b"{\"", b"\":1}"), (b"[1,", b"]"), (b"1 ", b"")] {
            for padding in [0, 3, 15, 64, 200] {
                let body =
                    [vec![b' '; padding], around.0.to_vec(), broken.to_vec(), around.1.to_vec()].concat();
                refused(&body, InvalidUtf8, padding + around.0.len());
            }
        }
    }
    refused(b"\"\xE2\x82", InvalidUtf8, 1);
    refused(b"[1]\xFF", InvalidUtf8, 3);
    refused(b"\xFF\xFE[\0]\0", InvalidUtf8, 0);
}

#[test]
fn depth_counts_open_containers() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let limit = |depth| Options { depth, ..Options::default() };
    assert_eq!(check(&nested(DEFAULT_DEPTH)), Ok(()));
    refused(&nested(DEFAULT_DEPTH + 1), TooDeep, DEFAULT_DEPTH);
    for depth in [1, 2, 17, 1024] {
        assert_eq!(validate(&nested(depth), limit(depth)), Ok(()));
        let error = Error { kind: TooDeep, offset: depth };
        assert_eq!(validate(&nested(depth + 1), limit(depth)), Err(error));
    }
    assert_eq!(validate(b"1", limit(0)), Ok(()));
    assert_eq!(validate(b" {}", limit(0)), Err(Error { kind: TooDeep, offset: 1 }));
    // The limit has a limit, so that no setting makes frames cost more than a body's worth.
    assert_eq!(validate(&nested(1025), limit(usize::MAX)), Err(Error { kind: TooDeep, offset: 1024 }));
    // Siblings are not nested.
    assert_eq!(validate(b"[{},[],{\"a\":[]}]", limit(3)), Ok(()));
    assert_eq!(validate(b"[{},[],{\"a\":[]}]", limit(2)), Err(Error { kind: TooDeep, offset: 12 }));
}

#[test]
fn duplicate_keys_are_found_in_any_object() {
    refused(br#"{"a":1,"a":2}"#, DuplicateKey, 7);
    refused(br#"{"a":1,"b":{},"a":[]}"#, DuplicateKey, 14);
    refused(br#"[0,{"x":{"":1, "":1}}]"#, DuplicateKey, 15);
    refused(br#"{"a":1,"\u0061":2}"#, DuplicateKey, 7);
    refused(br#"{"\u0061":1,"a":2}"#, DuplicateKey, 12);
    refused(br#"{"\ud83d\ude00":1,"\uD83D\uDE00":2}"#, DuplicateKey, 18);
    refused("{\"\\ud83d\\ude00\":1,\"\u{1f600}\":2}".as_bytes(), DuplicateKey, 18);
    refused(br#"{"\/":1,"/":2}"#, DuplicateKey, 8);
    // Not normalised, not case-folded.
    assert_eq!(check("{\"\u{e9}\":1,\"e\u{301}\":2,\"E\":3,\"e\":4}".as_bytes()), Ok(()));
    // The same key at other levels, before and behind.
    assert_eq!(check(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}],"c":{"a":{}}}"#), Ok(()));
}

#[test]
fn duplicate_keys_are_found_in_objects_of_any_size() {
    for count in [2, 15, 16, 17, 18, 33, 64, 65, 1000] {
        for (first, second) in [(0, count - 1), (count / 2, count - 1), (0, 1), (count - 2, count - 1)] {
            let mut body = b"[{\"\":[".to_vec();
            // Neighbours and parents of every size share the buffers.
            body.extend(b"{\"0\":1,\"k1\":2},");
            let mut offset = 0;
            body.push(b'{');
            for key in 0..count {
                if key > 0 {
                    body.push(b',');
                }
                if key == second {
                    offset = body.len();
                    body.extend(format!("\"\\u006b{first}\":{key}").bytes());
                } else {
                    body.extend(format!("\"k{key}\":{{\"k1\":0}}").bytes());
                }
            }
            body.extend(b"}]}]");
            if first == second {
                continue;
            }
            refused(&body, DuplicateKey, offset);
            let last = Options { duplicate_keys: DuplicateKeys::Last, ..Options::default() };
            assert_eq!(validate(&body, last), Ok(()));
        }
    }
}

#[test]
fn codes_are_stable_and_messages_say_where() {
    for (kind, code) in [
        (InvalidUtf8, "invalid_utf8"),
        (DuplicateKey, "duplicate_key"),
        (TooDeep, "too_deep"),
        (UnexpectedEnd, "invalid_json"),
        (LoneSurrogate, "invalid_json"),
        (TrailingData, "invalid_json"),
    ] {
        assert_eq!(kind.code(), code);
    }
    let error = check(b"\"a\nb\"").unwrap_err();
    assert_eq!(error.to_string(), "control character in a string: escape it (at byte 2)");
}

#[test]
fn an_error_leaves_nothing_behind_and_buffers_are_reusable() {
    let mut trie = PathTrie::new();
    trie.insert(&["a"], 1);
    let mut found = Scan::default();
    scan(br#"{"a":[1,{},2]}"#, &trie, Options::default(), &mut found).unwrap();
    assert_eq!((found.leaves.len(), found.elements.len()), (4, 2));
    scan(br#"{"a":[1,{},2],"b":{"c":[{"d":1,"#, &trie, Options::default(), &mut found).unwrap_err();
    assert_eq!((found.leaves.len(), found.elements.len()), (0, 0));
    scan(br#"{"a":1}"#, &trie, Options::default(), &mut found).unwrap();
    assert_eq!((found.leaves.len(), found.elements.len()), (1, 1));
    assert_eq!((found.leaves[0].start, found.leaves[0].element, found.elements[0].end), (5, 0, 1));
}

#[test]
fn unescape_gives_what_a_string_stands_for() {
    for (raw, text) in [
        ("", ""),
        ("plain é", "plain é"),
        (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r"a\u0041\u00e9\u20AC\uD83D\uDE00z", "aA\u{e9}\u{20ac}\u{1f600}z"),
        (r"\\u0041", r"\u0041"),
        (r"\u0000", "\0"),
        (r"\udbff\udfff", "\u{10ffff}"),
        (r"é\u005c\u0022", "é\\\""),
    ] {
        assert_eq!(unescape(raw), text, "{raw}");
    }
    assert!(matches!(unescape("no escapes"), std::borrow::Cow::Borrowed(_)));
    // Text that no scan has accepted must do no harm.
    for raw in ["\\", "\\u", "\\u12", "\\u+123", "\\é", "\\ué€", "\\ud800", "\\ud800\\u00", "\\udc00x", "\\x"]
    {
        assert!(unescape(raw).contains('\u{fffd}'), "{raw}");
    }
}
