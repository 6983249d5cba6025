//! The OpenAI HTTP API.

use super::path::{ANY_METHOD, GET, POST};
use super::spec::{At, Body, DialectSpec, Kinds, PathSpec, Requests, Source, Target, Words};
use super::{Attribute, Kind};

/// A path that calls a model.
const fn model(path: &'static str) -> PathSpec {
    PathSpec {
        at: At::Exactly(path),
        listed: true,
        requests: &[Requests { methods: POST, kinds: Kinds::Path(Kind::Model), body: Body::Json }],
    }
}

pub(super) static SPEC: DialectSpec = DialectSpec {
    name: "openai",
    words: Words { one: "a request of this API", noun: "request", many: "OpenAI requests" },
    default_path: "/v1/chat/completions",
    paths: &[
        model("/v1/chat/completions"),
        model("/v1/completions"),
        model("/v1/responses"),
        model("/v1/embeddings"),
        PathSpec {
            at: At::Exactly("/v1/models"),
            listed: true,
            requests: &[Requests { methods: GET, kinds: Kinds::Path(Kind::Model), body: Body::Any }],
        },
        // Anything else of the API may delete things, or cost money: it goes where a route's author has thought of it.
        PathSpec {
            at: At::Below("/v1/"),
            listed: false,
            requests: &[Requests { methods: ANY_METHOD, kinds: Kinds::Nothing, body: Body::Any }],
        },
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
    translations: &[],
};
