//! A dialect of which tests are made: everything in it is somewhere else than in the others.

use super::spec::{
    At, Body, Computed, DialectSpec, Kinds, PathSpec, Requests, Source, Target, Translation, Words,
};
use super::{Attribute, Dialect, Kind};

/// What `method` asks for: `tools/…`, `resources/…`, or nothing that has a kind.
const KIND: Computed = Computed {
    name: "method",
    from: &[&["method"]],
    compute: |parts| match parts {
        [Some(method)] if method.starts_with("tools/") => Some("tool"),
        [Some(method)] if method.starts_with("resources/") => Some("context"),
        [Some("broken")] => Some("no kind at all"),
        _ => None,
    },
};

/// The tool's or the resource's name, as the method has it.
const TOOL: Computed = Computed {
    name: "params.name",
    from: &[&["method"], &["params", "name"], &["params", "uri"]],
    compute: |parts| match *parts {
        [Some(method), name, _] if method.starts_with("tools/") => name,
        [Some(method), _, uri] if method.starts_with("resources/") => uri,
        _ => None,
    },
};

const RPC: &[Requests] = &[
    Requests {
        methods: &["POST"],
        kinds: Kinds::Body(&[Some(Kind::Tool), Some(Kind::Context), None]),
        body: Body::Json,
    },
    Requests { methods: &["GET", "DELETE"], kinds: Kinds::Nothing, body: Body::Any },
];

pub(super) static SPEC: DialectSpec = DialectSpec {
    name: "sample",
    words: Words { one: "a call", noun: "call", many: "sample calls" },
    default_path: "/rpc",
    paths: &[
        PathSpec { at: At::Exactly("/rpc"), listed: true, format: None, requests: RPC },
        PathSpec { at: At::Below("/rpc/"), listed: true, format: None, requests: RPC },
        PathSpec {
            at: At::Exactly("/v1/talk"),
            listed: true,
            format: None,
            requests: &[Requests { methods: &["POST"], kinds: Kinds::Path(Kind::Model), body: Body::Json }],
        },
        PathSpec {
            at: At::Below("/depot/"),
            listed: false,
            format: None,
            requests: &[Requests { methods: &["GET"], kinds: Kinds::Nothing, body: Body::Any }],
        },
    ],
    model_paths: &[],
    sources: &[
        (Attribute::Kind, Source::Computed(&KIND)),
        (Attribute::Agent, Source::Body(&["metadata", "user_id"])),
        (Attribute::Model, Source::Body(&["model"])),
        (Attribute::Tenant, Source::Header("x-waypost-tenant")),
        (Attribute::Task, Source::Body(&["method"])),
        (Attribute::Tool, Source::Computed(&TOOL)),
        (Attribute::Labels, Source::Body(&["metadata"])),
    ],
    required: &[],
    object: true,
    identity_replaces_body: true,
    clusters: true,
    target: Target::Url,
    translations: &[Translation { to: Dialect::OpenAi, kinds: &[Kind::Context] }],
    fields: &[],
    fixed: &[],
};
