//! The native envelope.

use super::path::POST;
use super::spec::{At, Body, DialectSpec, Kinds, PathSpec, Requests, Source, Target, Translation, Words};
use super::{Attribute, Dialect, Kind};

const KINDS: &[Option<Kind>] =
    &[Some(Kind::Query), Some(Kind::Context), Some(Kind::Model), Some(Kind::Tool), Some(Kind::Event)];

pub(super) static SPEC: DialectSpec = DialectSpec {
    name: "envelope",
    words: Words { one: "an envelope", noun: "envelope", many: "envelopes" },
    default_path: "/v1/envelopes",
    paths: &[PathSpec {
        at: At::Exactly("/v1/envelopes"),
        listed: true,
        format: None,
        requests: &[Requests { methods: POST, kinds: Kinds::Body(KINDS), body: Body::Json }],
    }],
    model_paths: &[],
    sources: &[
        (Attribute::Id, Source::Body(&["id"])),
        (Attribute::Kind, Source::Body(&["kind"])),
        (Attribute::Agent, Source::Body(&["agent"])),
        (Attribute::Model, Source::Body(&["model"])),
        (Attribute::Tenant, Source::Body(&["tenant"])),
        (Attribute::Task, Source::Body(&["task"])),
        (Attribute::Tool, Source::Body(&["tool"])),
        (Attribute::Content, Source::Body(&["content"])),
        (Attribute::Context, Source::Body(&["context"])),
        (Attribute::Priority, Source::Body(&["priority"])),
        (Attribute::DeadlineMs, Source::Body(&["deadline_ms"])),
        (Attribute::Labels, Source::Body(&["labels"])),
        (Attribute::Topic, Source::Body(&["topic"])),
        (Attribute::Stream, Source::Body(&["stream"])),
    ],
    required: &[Attribute::Id, Attribute::Kind],
    object: true,
    identity_replaces_body: false,
    clusters: true,
    target: Target::Url,
    translations: &[Translation { to: Dialect::OpenAi, kinds: &[Kind::Model] }],
    fields: &[],
    fixed: &[],
};
