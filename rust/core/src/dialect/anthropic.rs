//! Anthropic's HTTP API.

use super::path::{ANY_METHOD, POST};
use super::spec::{At, Body, DialectSpec, Kinds, PathSpec, Requests, Source, Target, Translation, Words};
use super::{Attribute, Dialect, Kind};
use crate::translate::Format;

const MODEL: &[Requests] = &[Requests { methods: POST, kinds: Kinds::Path(Kind::Model), body: Body::Json }];

pub(super) static SPEC: DialectSpec = DialectSpec {
    name: "anthropic",
    words: Words { one: "a request of this API", noun: "request", many: "Anthropic requests" },
    default_path: "/v1/messages",
    paths: &[
        PathSpec {
            at: At::Exactly("/v1/messages"),
            listed: true,
            format: Some(Format::Messages),
            requests: MODEL,
        },
        PathSpec {
            at: At::Exactly("/v1/messages/count_tokens"),
            listed: true,
            format: None,
            requests: MODEL,
        },
        // Batches, which cost money.
        PathSpec {
            at: At::Below("/v1/messages/"),
            listed: false,
            format: None,
            requests: &[Requests { methods: ANY_METHOD, kinds: Kinds::Nothing, body: Body::Any }],
        },
    ],
    model_paths: &[],
    sources: &[
        (Attribute::Agent, Source::Body(&["metadata", "user_id"])),
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
    identity_replaces_body: true,
    clusters: true,
    target: Target::Request,
    translations: &[Translation { to: Dialect::OpenAi, kinds: &[Kind::Model] }],
    fields: &["anthropic-version", "anthropic-beta"],
    // Without a version a request is refused. This one is the oldest that still holds, so every server knows it.
    fixed: &[("anthropic-version", "2023-06-01")],
};
