//! The head of an upstream request.

use super::id::header_safe;
use super::intake::Intake;
use super::join;
use super::snapshot::Plan;
use crate::cluster::{Cluster, Credential, Endpoint};
use crate::dialect::{Attribute, Dialect, Source};
use crate::http1::{BodyLength, Error, RequestHead, is_settable, write_request_head};

/// The fields in which clients present credentials. Cookies are some, too.
const CREDENTIALS: [&[u8]; 4] = [b"authorization", b"x-api-key", b"api-key", b"cookie"];

/// Whether a field may carry a cluster's credential: none that is written here, or that frames a message.
pub(super) fn may_carry_credential(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let written = ["x-request-id", "content-type", "accept", "accept-encoding", "forwarded"];
    is_settable(name.as_bytes())
        && !written.contains(&lower.as_str())
        && !lower.starts_with("x-forwarded-")
        && !lower.starts_with("x-waypost-")
}

/// Writes the head of one attempt. `remaining_ms` is what is left of the message's deadline.
pub(super) fn write(
    intake: &Intake,
    plan: &Plan,
    cluster: &Cluster,
    endpoint: &Endpoint,
    body: BodyLength,
    remaining_ms: Option<u64>,
) -> Result<Vec<u8>, Error> {
    let request = &intake.request;
    let translated = join::translates(intake.dialect, cluster.speaks);
    let target = if translated { cluster.speaks.default_path() } else { &request.target };
    let target = endpoint.target(cluster.speaks, target);
    let method = if translated { "POST" } else { &request.method };

    let remaining = remaining_ms.map(|ms| ms.to_string());
    let host = request.fields("host").next();
    let mut extra: Vec<(&[u8], &[u8])> = vec![(b"x-request-id", plan.request_id.as_bytes())];
    extra.push((b"x-forwarded-proto", request.scheme.as_bytes()));
    extra.extend(host.map(|host| (&b"x-forwarded-host"[..], host)));
    extra.extend(request.client.as_deref().map(|client| (&b"x-forwarded-for"[..], client.as_bytes())));
    extra.extend(remaining.as_deref().map(|ms| (&b"x-waypost-deadline-ms"[..], ms.as_bytes())));
    let mut remove: Vec<&[u8]> = vec![b"forwarded"];
    match &cluster.credential {
        Credential::Pass => {}
        Credential::None => remove.extend(CREDENTIALS),
        Credential::Header { name, value } => {
            remove
                .extend(CREDENTIALS.into_iter().filter(|field| !name.as_bytes().eq_ignore_ascii_case(field)));
            extra.push((name.as_bytes(), value.as_bytes()));
        }
    }
    let carried = if translated { carriers(plan) } else { Vec::new() };
    if translated {
        // What the client's fields say beside the envelope was not looked at.
        remove.extend(carriers_of(cluster.speaks).map(|(name, _)| name.as_bytes()));
        extra.extend(carried.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        // The reply is read here, so it must be plain; what it should be follows from the message.
        let accept: &[u8] = if plan.envelope.stream { b"text/event-stream" } else { b"application/json" };
        extra.extend([(&b"content-type"[..], &b"application/json"[..]), (b"accept", accept)]);
        extra.push((b"accept-encoding", b"identity"));
    }
    let head = RequestHead {
        method: method.as_bytes(),
        target: target.as_bytes(),
        host: endpoint.authority().as_bytes(),
        remove: &remove,
        extra: &extra,
        // The body that is sent is always framed, whatever the client's head said: HTTP/2 needs no length.
        body: match body {
            BodyLength::Known(0) if !intake.framed && !intake.buffered => BodyLength::None,
            body => body,
        },
    };
    let mut out = Vec::with_capacity(512);
    // Without a trusted proxy in front nothing that the client says about itself is believed.
    let own = request.headers.iter().filter(|(name, _)| !is_forwarded(name));
    let fields = own.map(|(name, value)| (name.as_slice(), value.as_slice()));
    write_request_head(&mut out, &head, fields)?;
    Ok(out)
}

/// Whether a field is one of `x-forwarded-*`, also as an endpoint that speaks CGI or WSGI sees it, where `_` is `-`.
fn is_forwarded(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let dashed = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.get(..PREFIX.len()).is_some_and(|start| start.iter().map(dashed).eq(PREFIX.iter().copied()))
}

/// The header fields in which a dialect carries attributes.
fn carriers_of(dialect: Dialect) -> impl Iterator<Item = (&'static str, Attribute)> {
    Attribute::ALL.into_iter().filter_map(move |attribute| match attribute.source(dialect) {
        Source::Header(name) => Some((name, attribute)),
        _ => None,
    })
}

/// What an envelope says that the body of a chat completion has no place for, so that another Waypost can route by it.
/// Its deadline is not among it: every attempt has its own.
fn carriers(plan: &Plan) -> Vec<(&'static str, String)> {
    let envelope = &plan.envelope;
    let value = |attribute| match attribute {
        Attribute::Tenant => envelope.tenant.as_deref().map(header_safe),
        Attribute::Task => envelope.task.as_deref().map(header_safe),
        Attribute::Priority => envelope.priority.map(|priority| priority.to_string()),
        _ => None,
    };
    carriers_of(Dialect::OpenAi).filter_map(|(name, attribute)| Some((name, value(attribute)?))).collect()
}
