//! What the scanner costs by the size of a document: `cargo bench --bench scan`.
//!
//! Beside it, in the same run, what has to be done at least: checking that the bytes are UTF-8.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use waypost_core::json::{Options, PathTrie, Scan, scan};

const PLAIN: [&str; 6] = ["route", "a", "message", "to", "its", "model"];
const WIDE: [&str; 6] = ["маршрут", "模型", "エッジ", "запрос", "記憶", "ответ"];

/// A native envelope of about `size` bytes, nearly all of them prompt, with a line break every 60 bytes or so.
fn envelope(size: usize, words: &[&str]) -> Vec<u8> {
    let mut body = String::from(
        r#"{"id": "01JD0000000001", "kind": "model", "agent": "agent-1-7", "model": "llama-3-8b", "tenant": "tenant-1",
 "task": "task-1", "priority": 7, "labels": {"region": "eu-west-1", "team": "team-1"},
 "context": [{"type": "memory", "ref": "mem://1/42"}], "content": ""#,
    );
    let mut line = 0;
    for word in words.iter().cycle() {
        if body.len() >= size {
            break;
        }
        line += word.len() + 1;
        let end = if line > 60 { "\\n" } else { " " };
        line = if line > 60 { 0 } else { line };
        let _ = write!(body, "{word}{end}");
    }
    body.push_str("\"}");
    body.into_bytes()
}

/// A document of about `size` bytes that is all structure: small objects, arrays, numbers and words.
fn rows(size: usize) -> Vec<u8> {
    let mut body = String::from(r#"{"kind": "model", "context": ["#);
    let mut row = 0;
    while body.len() < size {
        let (ok, tags) = if row % 3 == 0 { ("true", r#""a", "bb""#) } else { ("null", "") };
        let (x, y) = (row % 100, row % 977);
        let _ = write!(
            body,
            r#"{{"id": {row}, "x": -{x}.{y}, "ok": {ok}, "tags": [{tags}], "at": [{x}, {y}], "sub": {{"n": {{}}}}}}, "#,
        );
        row += 1;
    }
    body.push_str("0]}");
    body.into_bytes()
}

/// The paths that a usual table looks at.
fn tracked() -> PathTrie {
    let paths: [&[&str]; 8] = [
        &["kind"],
        &["model"],
        &["tenant"],
        &["priority"],
        &["labels", "region"],
        &["labels", "team"],
        &["context", "type"],
        &["context", "ref"],
    ];
    let mut trie = PathTrie::new();
    for (path, field) in paths.into_iter().zip(0..) {
        trie.insert(path, field);
    }
    trie
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("scan");
    let trie = tracked();
    let mut found = Scan::default();
    let documents = [
        ("0.3 KB", envelope(300, &PLAIN)),
        ("1 KB", envelope(1_000, &PLAIN)),
        ("8 KB", envelope(8_000, &PLAIN)),
        ("8 KB of rows", rows(8_000)),
        ("1 MB", envelope(1_000_000, &PLAIN)),
        ("0.9 MB multibyte", envelope(900_000, &WIDE)),
    ];
    for (name, body) in &documents {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("scan", name), body, |bencher, body| {
            bencher.iter(|| scan(black_box(body), &trie, Options::default(), &mut found));
        });
        group.bench_with_input(BenchmarkId::new("utf-8 alone", name), body, |bencher, body| {
            bencher.iter(|| simdutf8::basic::from_utf8(black_box(body)).is_ok());
        });
    }
    group.finish();
    criterion.final_summary();
}
