//! Writes the head of an upstream request.

use smallvec::SmallVec;

use super::id::header_safe;
use super::intake::Intake;
use super::origin::is_x_forwarded;
use super::snapshot::Plan;
use super::trace;
use crate::auth::keys;
use crate::cluster::{Cluster, Credential, Endpoint};
use crate::dialect::{Attribute, Dialect, own_headers};
use crate::http1::{Added, BodyLength, Error, RequestHead, same_name, write_request_head};

/// The header fields with credentials of clients: keys and cookies.
fn credentials() -> impl Iterator<Item = &'static [u8]> {
    keys::FIELDS.into_iter().chain(["cookie"]).map(str::as_bytes)
}

/// Whether a client's header field is a credential that holds this key, alone or after a scheme or a name. As for endpoints that
/// use CGI or WSGI, `_` equals `-`.
fn carries_key(name: &[u8], value: &[u8], key: &[u8]) -> bool {
    let is_key = |word: &[u8]| {
        let named = word.iter().position(|&byte| byte == b'=').and_then(|at| word.get(at + 1..));
        word == key || named == Some(key)
    };
    credentials().any(|field| same_name(field, name))
        && (value.trim_ascii() == key || value.split(|byte| b" \t,;".contains(byte)).any(is_key))
}

/// The header fields that describe the client's bytes (RFC 9530, RFC 1864), and are wrong for a translated body.
const DESCRIBE_BODY: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// The header field that tells an endpoint the tenant of a message.
const TENANT: &str = "x-waypost-tenant";

/// Whether a header field may carry a cluster's credential. Fields that this module writes, or that frame a message, may not.
pub(super) fn may_carry_credential(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let written = ["x-request-id", "content-type", "accept", "accept-encoding", "forwarded", trace::PARENT];
    Added::new(lower.as_bytes()).is_ok()
        && !written.contains(&lower.as_str())
        && !is_x_forwarded(name.as_bytes())
        && !lower.starts_with("x-waypost-")
}

/// Writes the head of one attempt. `remaining_ms` is the remaining time of the message's deadline. `token_proves` says that a
/// key or another token in the client's header fields proved to Waypost who the caller is.
pub(super) fn write(
    intake: &Intake,
    plan: &Plan,
    cluster: &Cluster,
    endpoint: &Endpoint,
    body: BodyLength,
    remaining_ms: Option<u64>,
    token_proves: bool,
) -> Result<Vec<u8>, Error> {
    let request = &intake.request;
    let translated = cluster.speaks != intake.dialect;
    let target = if translated { cluster.speaks.default_path() } else { &request.target };
    let target = endpoint.target(cluster.speaks, target);
    let method = if translated { "POST" } else { &request.method };

    let remaining = remaining_ms.map(|ms| ms.to_string());
    let told = intake.origin.told.as_ref();
    let scheme = told.and_then(|told| told.scheme).unwrap_or(&request.scheme);
    let host = told.and_then(|told| told.host.as_deref()).or_else(|| request.fields("host").next());
    let way = told.map(|told| told.way.as_str()).or(intake.origin.client.as_deref());
    let tenant = intake.caller.as_ref().and_then(|caller| caller.identity.tenant.as_deref()).map(header_safe);
    let request_id = plan.request_id();
    let carried = if translated { carriers(plan, cluster.speaks) } else { Vec::new() };
    let own: String; // The credential's field name in lower case.
    let mut extra: SmallVec<[(Added<'_>, &[u8]); 12]> = SmallVec::new();
    extra.push((const { Added::known("x-request-id") }, request_id.as_bytes()));
    extra.push((const { Added::known("x-forwarded-proto") }, scheme.as_bytes()));
    if let Some(host) = host {
        extra.push((const { Added::known("x-forwarded-host") }, host));
    }
    if let Some(way) = way.filter(|way| !way.is_empty()) {
        extra.push((const { Added::known("x-forwarded-for") }, way.as_bytes()));
    }
    if let Some(forwarded) = told.and_then(|told| told.forwarded.as_deref()) {
        extra.push((const { Added::known("forwarded") }, forwarded.as_bytes()));
    }
    if let Some(ms) = &remaining {
        extra.push((const { Added::known("x-waypost-deadline-ms") }, ms.as_bytes()));
    }
    let mut remove: SmallVec<[&[u8]; 12]> = SmallVec::new();
    remove.push(keys::OWN_FIELD.as_bytes());
    if intake.trace.is_none() {
        remove.extend([trace::PARENT.as_bytes(), trace::STATE.as_bytes()]);
    }
    // A key that Waypost knows is never forwarded, in whichever field it came.
    let mut key: Option<&[u8]> = None;
    match &cluster.credential {
        Credential::Pass if intake.purpose.is_none() => {
            if token_proves {
                key = keys::presented(&request.headers).ok().flatten();
            }
        }
        // An internal call is not the client's message, so its cluster must not get the client's credential.
        Credential::Pass | Credential::None => remove.extend(credentials()),
        Credential::Header { name, value } => {
            remove.extend(credentials().filter(|field| !name.as_bytes().eq_ignore_ascii_case(field)));
            own = name.to_ascii_lowercase();
            extra.push((Added::new(own.as_bytes())?, value.as_bytes()));
        }
    }
    if translated {
        // Drop the client's fields of these names, which were not read with an envelope.
        remove.extend(own_headers().map(|(name, _)| name.as_bytes()));
        remove.extend(DESCRIBE_BODY.map(str::as_bytes));
        remove.extend(intake.dialect.spec().fields.iter().map(|name| name.as_bytes()));
        for (name, value) in cluster.speaks.spec().fixed {
            extra.push((Added::new(name.as_bytes())?, value.as_bytes()));
        }
        for (name, value) in &carried {
            extra.push((Added::new(name.as_bytes())?, value.as_bytes()));
        }
        // Waypost reads the reply, so it must not be compressed. The message determines its media type.
        let accept: &[u8] = if plan.envelope.stream { b"text/event-stream" } else { b"application/json" };
        extra.push((const { Added::known("content-type") }, b"application/json"));
        extra.push((const { Added::known("accept") }, accept));
        extra.push((const { Added::known("accept-encoding") }, b"identity"));
    } else if let Some(tenant) = &tenant {
        // The tenant that the key proves replaces the field in any spelling.
        extra.push((const { Added::known(TENANT) }, tenant.as_bytes()));
    }
    let head = RequestHead {
        method: method.as_bytes(),
        target: target.as_bytes(),
        host: endpoint.authority().as_bytes(),
        remove: &remove,
        extra: &extra,
        normal: request.headers.is_normal(),
        // A body is always framed, even if the client's head did not announce it: HTTP/2 needs no length.
        body: match body {
            BodyLength::Known(0) if !intake.framed && !intake.buffered => BodyLength::None,
            body => body,
        },
    };
    let mut out = Vec::with_capacity(512);
    let fields = request.headers.iter().filter(|(name, value)| {
        !intake.origin.disbelieves(name, value) && !key.is_some_and(|key| carries_key(name, value, key))
    });
    write_request_head(&mut out, &head, fields)?;
    Ok(out)
}

/// What a message says that the body of its translation has no place for, in the header fields of a dialect, so that
/// another Waypost can route by it. Its deadline is not among it: every attempt has its own.
fn carriers(plan: &Plan, dialect: Dialect) -> Vec<(&'static str, String)> {
    let envelope = &plan.envelope;
    let safe = |text| header_safe(text).into_owned();
    let value = |attribute| match attribute {
        Attribute::Tenant => envelope.tenant.as_deref().map(safe),
        Attribute::Task => envelope.task.as_deref().map(safe),
        Attribute::Priority => envelope.priority.map(|priority| priority.to_string()),
        _ => None,
    };
    let carriers = dialect.spec().headers();
    carriers.filter_map(|(name, attribute)| Some((name, value(attribute)?))).collect()
}
