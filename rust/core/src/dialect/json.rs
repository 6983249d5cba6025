//! Any JSON. It carries no attributes: patterns see its `body`, headers and path. No listener takes it, so it is what
//! requests to unknown paths count as.

use super::spec::{DialectSpec, Target, Words};

pub(super) static SPEC: DialectSpec = DialectSpec {
    name: "json",
    words: Words { one: "a JSON document", noun: "document", many: "JSON documents" },
    default_path: "/",
    paths: &[],
    model_paths: &[],
    sources: &[],
    required: &[],
    object: false,
    identity_replaces_body: false,
    clusters: false,
    target: Target::Request,
    translations: &[],
    fields: &[],
    fixed: &[],
};
