//! Which dialect is spoken at a path, and with which methods.

use std::fmt::Write;

use super::spec::{At, DialectSpec, PathSpec, Requests};
use super::{Dialect, Kind};
use crate::text::near::near;

/// What Waypost has at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The dialect of the messages sent there.
    pub dialect: Dialect,
    /// Which of the dialect's paths it is.
    pub path: &'static PathSpec,
}

impl Entry {
    /// How requests of a method are read; `None` where the method is not allowed.
    #[must_use]
    pub fn requests(self, method: &str) -> Option<&'static Requests> {
        self.path.requests.iter().find(|requests| requests.methods.contains(&method))
    }

    /// What the path says that a request asks for; with a method that is not allowed, what others ask for.
    #[must_use]
    pub fn kind(self, method: &str) -> Option<Kind> {
        self.requests(method).or(self.path.requests.first())?.kind()
    }

    /// Methods that are allowed.
    pub fn methods(self) -> impl Iterator<Item = &'static str> {
        self.path.requests.iter().flat_map(|requests| requests.methods.iter().copied())
    }
}

pub(super) const POST: &[&str] = &["POST"];
pub(super) const GET: &[&str] = &["GET", "HEAD"];

/// What may be asked of a path of which nothing more is known: TRACE would show what is added on the way.
pub(super) const ANY_METHOD: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Whether everybody reads `path` (without query) alike: no `.`, `..` or empty segment (a slash at the end is fine), `%`
/// before two hexadecimal digits only and for nothing that may stand as it is, no control character. Some endpoints
/// decode before they split, and some take `\` for `/`, so segments count as they are after that: a route for
/// `/v1/files/` must not let `/v1/files/..%2Fkeys` through (RFC 3986, section 6.2.2).
#[must_use]
pub fn is_canonical(path: &str) -> bool {
    let mut bytes = path.bytes();
    let mut only_dots = false; // the segment so far is one or two dots
    let mut length = 1; // of the segment; what comes before the first slash is none
    while let Some(byte) = bytes.next() {
        let encoded = byte == b'%';
        let byte = if encoded {
            let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else { return false };
            u8::try_from(high * 16 + low).unwrap_or(0)
        } else {
            byte
        };
        if byte.is_ascii_control() || (encoded && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))) {
            return false;
        }
        if matches!(byte, b'/' | b'\\') {
            if only_dots || (length == 0 && !encoded) {
                return false;
            }
            length = 0;
            only_dots = false;
        } else {
            length += 1;
            only_dots = byte == b'.' && (length == 1 || (length == 2 && only_dots));
        }
    }
    !only_dots
}

/// Every path of every dialect.
fn paths() -> impl Iterator<Item = Entry> {
    let of = |dialect: Dialect| dialect.spec().paths.iter().map(move |path| Entry { dialect, path });
    Dialect::ALL.into_iter().flat_map(of)
}

/// Single paths at which any route may take messages.
fn listed() -> impl Iterator<Item = &'static str> {
    paths().filter(|entry| entry.path.listed).filter_map(|entry| match entry.path.at {
        At::Exactly(path) => Some(path),
        At::Below(_) => None,
    })
}

/// The listed path that was probably meant by one that is not: misspelt, in other case, with a slash at the end, without
/// `/v1` or with it twice.
#[must_use]
pub fn near_path(path: &str) -> Option<&'static str> {
    let lower: String = path.chars().take(LONGEST).collect::<String>().to_ascii_lowercase();
    let rest = lower.trim_end_matches('/').trim_start_matches('/');
    let rest = rest.strip_prefix("v1").map_or(rest, |rest| rest.trim_start_matches('/'));
    let rest = rest.strip_prefix("v1/").unwrap_or(rest);
    let name = |listed: &'static str| listed.strip_prefix("/v1/").or(listed.strip_prefix('/'));
    let near = near(rest, listed().filter_map(name))?;
    listed().find(|listed| name(listed) == Some(near) && *listed != path)
}

/// Characters of a path that are looked at.
const LONGEST: usize = 100;

/// What Waypost has at `path` (without query); `None` where it has nothing, or the path is not canonical.
#[must_use]
pub fn entry(path: &str) -> Option<Entry> {
    if let Some(found) = paths().find(|entry| matches!(entry.path.at, At::Exactly(exact) if exact == path)) {
        return Some(found);
    }
    let below = paths().filter_map(|entry| match entry.path.at {
        At::Below(begin) if path.len() > begin.len() && path.starts_with(begin) => Some((begin.len(), entry)),
        At::Below(_) | At::Exactly(_) => None,
    });
    let (_, found) = below.max_by_key(|(length, _)| *length)?;
    is_canonical(path).then_some(found)
}

/// Where messages are sent, for a person: `envelopes go to /v1/envelopes, OpenAI requests to …`.
#[must_use]
pub fn describe_paths() -> String {
    let mut out = String::new();
    let below = |spec: &DialectSpec| {
        spec.paths.iter().find_map(|path| match path.at {
            At::Below(begin) if !path.listed => Some(begin),
            At::Below(_) | At::Exactly(_) => None,
        })
    };
    for spec in Dialect::ALL.map(Dialect::spec).into_iter().filter(|spec| !spec.paths.is_empty()) {
        let (comma, go) = if out.is_empty() { ("", " go") } else { (", ", "") };
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}{}{go} to {}", spec.words.many, spec.default_path);
        if let Some(begin) = below(spec) {
            let _ = write!(out, " and other paths below {begin}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, found) in [
            ("/v1/envelopes", Some((Dialect::Envelope, None, POST))),
            ("/v1/chat/completions", Some((Dialect::OpenAi, Some(Kind::Model), POST))),
            ("/v1/models", Some((Dialect::OpenAi, Some(Kind::Model), GET))),
            ("/v1/models/llama", Some((Dialect::OpenAi, None, ANY_METHOD))),
            ("/v1/audio/speech", Some((Dialect::OpenAi, None, ANY_METHOD))),
            ("/v1/", None),
            ("/v1", None),
            ("/", None),
            ("", None),
            ("/V1/envelopes", None),
            ("/v2/chat/completions", None),
            ("/v1/../admin", None),
        ] {
            let found = found.map(|(dialect, kind, methods)| (dialect, kind, methods.to_vec()));
            assert_eq!(
                entry(path).map(|e| (e.dialect, e.kind("GET"), e.methods().collect())),
                found,
                "{path}"
            );
        }
    }

    #[test]
    fn a_listed_path_is_suggested_for_one_that_is_nearly_it() {
        for (path, meant) in [
            ("/v1/envelope", Some("/v1/envelopes")),
            ("/v1/envelopes/", Some("/v1/envelopes")),
            ("/V1/Envelopes", Some("/v1/envelopes")),
            ("/envelopes", Some("/v1/envelopes")),
            ("/v1/v1/chat/completions", Some("/v1/chat/completions")),
            ("/chat/completions", Some("/v1/chat/completions")),
            ("/v1/chat/completion", Some("/v1/chat/completions")),
            ("/v1/completion", Some("/v1/completions")),
            ("/v1//models", Some("/v1/models")),
            ("/v1/model", Some("/v1/models")),
            ("/v1/envelopes", None),
            ("/v1/files", None),
            ("/v1/models/llama", None),
            ("/v1/audio/speech", None),
            ("/v1", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(near_path(path), meant, "{path}");
        }
        assert!(listed().all(|path| {
            entry(path).is_some_and(|e| e.dialect != Dialect::OpenAi || e.kind("POST").is_some())
        }));
    }

    #[test]
    fn canonical_paths() {
        for path in [
            "/",
            "/v1/files/",
            "/v1/models/org%2Fname",
            "/v1/a.b/..c/d../...",
            "/v1/caf%C3%A9",
            "/v1/.well",
            "/v1/%2Fa",
            "/v1/%252e%252e/a",
            "/v1/a:b@c;d,e=f!$&'()*+~",
        ] {
            assert!(is_canonical(path), "{path}");
        }
        for path in [
            "/v1/..",
            "/v1/.",
            "/v1/./a",
            "/v1/../a",
            "/v1//a",
            "//v1/a",
            "/v1/a//",
            "/v1/%2e%2e/a",
            "/v1/.%2E/a",
            "/v1/a%2f..%2fb",
            "/v1/..%5ca",
            "/v1/..\\a",
            "/v1/a\\..",
            "/v1/a/%2e",
            "/v1/%",
            "/v1/%4",
            "/v1/%zz",
            "/v1/%+1",
            "/v1/a%00b",
            "/v1/a%0d%0ab",
            "/v1/a\u{7f}",
            "/v1/%7f",
            "/v1/%C3%A",
            "/v1/x%2f%2e",
            "/v1/chat/%63ompletions",
        ] {
            assert!(!is_canonical(path), "{path}");
        }
    }
}
