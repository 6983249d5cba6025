//! Which dialect is spoken at a path, and with which methods.

use super::{Dialect, Kind};

/// What Waypost has at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The dialect of the messages sent there.
    pub dialect: Dialect,
    /// What they ask for, where the path says it.
    pub kind: Option<Kind>,
    /// Methods that are allowed; empty where all are.
    pub methods: &'static [&'static str],
    /// How a request body is read.
    pub body: Body,
}

/// How a request body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It must be JSON, is read whole and validated.
    Json,
    /// JSON is read whole and validated, anything else streams past.
    Any,
}

const POST: &[&str] = &["POST"];
const GET: &[&str] = &["GET", "HEAD"];

/// What Waypost has at `path` (without query); `None` where it has nothing.
#[must_use]
pub fn entry(path: &str) -> Option<Entry> {
    let openai = |methods, kind, body| Entry { dialect: Dialect::OpenAi, kind, methods, body };
    Some(match path {
        "/v1/envelopes" => Entry { dialect: Dialect::Envelope, kind: None, methods: POST, body: Body::Json },
        "/v1/chat/completions" | "/v1/completions" | "/v1/responses" | "/v1/embeddings" => {
            openai(POST, Some(Kind::Model), Body::Json)
        }
        "/v1/models" => openai(GET, Some(Kind::Model), Body::Any),
        // Anything else of the API goes where a route sends it; it is of no kind.
        path if path.starts_with("/v1/") && path.len() > "/v1/".len() => openai(&[], None, Body::Any),
        _ => return None,
    })
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
            ("/v1/models/llama", Some((Dialect::OpenAi, None, &[]))),
            ("/v1/audio/speech", Some((Dialect::OpenAi, None, &[]))),
            ("/v1/", None),
            ("/v1", None),
            ("/", None),
            ("", None),
            ("/V1/envelopes", None),
            ("/v2/chat/completions", None),
        ] {
            assert_eq!(entry(path).map(|e| (e.dialect, e.kind, e.methods)), found, "{path}");
        }
    }
}
