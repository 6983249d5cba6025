//! The OpenAI HTTP API.

use super::path::{ANY_METHOD, GET, POST};
use super::spec::{At, Body, DialectSpec, Kinds, PathSpec, Requests, Source, Target, Translation, Words};
use super::{Attribute, Dialect, Kind};
use crate::translate::Format;

/// A path that calls a model.
const fn model(path: &'static str, format: Option<Format>) -> PathSpec {
    PathSpec {
        at: At::Exactly(path),
        listed: true,
        format,
        requests: &[Requests { methods: POST, kinds: Kinds::Path(Kind::Model), body: Body::Json }],
    }
}

pub(super) static SPEC: DialectSpec = DialectSpec {
    name: "openai",
    words: Words { one: "a request of this API", noun: "request", many: "OpenAI requests" },
    default_path: "/v1/chat/completions",
    paths: &[
        model("/v1/chat/completions", Some(Format::Chat)),
        model("/v1/completions", None),
        model("/v1/responses", None),
        model("/v1/embeddings", None),
        PathSpec {
            at: At::Exactly("/v1/models"),
            listed: true,
            format: None,
            requests: &[Requests { methods: GET, kinds: Kinds::Path(Kind::Model), body: Body::Any }],
        },
        // Anything else of the API may delete things, or cost money: it goes where a route's author has thought of it.
        PathSpec {
            at: At::Below("/v1/"),
            listed: false,
            format: None,
            requests: &[Requests { methods: ANY_METHOD, kinds: Kinds::Nothing, body: Body::Any }],
        },
    ],
    // Those of OpenAI, of servers that speak its API (vLLM, llama.cpp, Infinity, LocalAI), and of vendors with a like one
    // (Cohere, Jina, Mistral, Voyage). What creates or deletes something that stays is not among them.
    model_paths: &[
        "/v1/agents/completions",
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/chat/classifications",
        "/v1/chat/moderations",
        "/v1/classifications",
        "/v1/classify",
        "/v1/contextualizedembeddings",
        "/v1/detokenize",
        "/v1/edits",
        "/v1/embed",
        "/v1/fim/completions",
        "/v1/generate",
        "/v1/images/edits",
        "/v1/images/generations",
        "/v1/images/variations",
        "/v1/infill",
        "/v1/moderations",
        "/v1/multimodalembeddings",
        "/v1/ocr",
        "/v1/pooling",
        "/v1/rerank",
        "/v1/reranking",
        "/v1/responses/input_tokens",
        "/v1/score",
        "/v1/tokenize",
    ],
    sources: &[
        (Attribute::Agent, Source::Body(&["user"])),
        (Attribute::Model, Source::Body(&["model"])),
        (Attribute::Tenant, Source::Header("x-waypost-tenant")),
        (Attribute::Task, Source::Header("x-waypost-task")),
        (Attribute::Priority, Source::Header("x-waypost-priority")),
        (Attribute::DeadlineMs, Source::Header("x-waypost-deadline-ms")),
        (Attribute::Labels, Source::Body(&["metadata"])),
        (Attribute::Stream, Source::Body(&["stream"])),
    ],
    required: &[],
    object: true,
    identity_replaces_body: false,
    clusters: true,
    target: Target::Request,
    translations: &[Translation { to: Dialect::Anthropic, kinds: &[Kind::Model] }],
    fields: &[],
    fixed: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_the_paths_that_call_a_model() {
        let page = include_str!("../../../../docs/dialects/openai.md");
        let section = page.split("## Paths that call a model").nth(1).unwrap().split("\n## ").next().unwrap();
        let mut shown: Vec<&str> =
            section.split('`').filter(|part| part.starts_with("/v1/")).map(str::trim).collect();
        shown.sort_unstable();
        assert_eq!(shown, SPEC.model_paths);
    }
}
