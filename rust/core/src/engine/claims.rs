//! Header fields that claim who the client is, besides `x-forwarded-*` and `forwarded`.
//!
//! Proxies write them for the servers behind, which believe them. Therefore only trusted proxies may send them. As for
//! endpoints that use CGI or WSGI, `_` equals `-`.

/// What a field claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The client's address.
    Address,
    /// The client's certificate, or its user as a gateway authenticated it.
    Identity,
}

/// The claim that a field makes, if it makes one.
pub(super) fn claim(name: &[u8]) -> Option<Claim> {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    let named = |known: &&str| known.bytes().eq(name.iter().map(|&byte| fold(byte)));
    // Most fields are of a length that no claim has, or differ in the first byte.
    if addresses(name.len()).iter().any(named) {
        Some(Claim::Address)
    } else if identities(name.len()).iter().any(named) {
        Some(Claim::Identity)
    } else {
        None
    }
}

/// The fields of this length that name the client's address.
fn addresses(length: usize) -> &'static [&'static str] {
    match length {
        9 => &["x-real-ip", "client-ip"],
        11 => &["x-client-ip", "x-remote-ip"],
        13 => &["x-remote-addr", "fly-client-ip"],
        14 => &["true-client-ip", "x-proxyuser-ip"],
        15 => &["proxy-client-ip"],
        16 => &[
            "cf-connecting-ip",
            "fastly-client-ip",
            "do-connecting-ip",
            "x-originating-ip",
            "x-azure-clientip",
            "x-azure-socketip",
        ],
        18 => &["cf-connecting-ipv6", "wl-proxy-client-ip"],
        19 => &["x-cluster-client-ip", "x-appengine-user-ip"],
        22 => &["x-vercel-forwarded-for"],
        24 => &["x-envoy-external-address", "x-original-forwarded-for"],
        25 => &["cloudfront-viewer-address", "x-nf-client-connection-ip"],
        _ => &[],
    }
}

/// The fields of this length that name the client's certificate or user.
fn identities(length: usize) -> &'static [&'static str] {
    match length {
        10 => &["x-ssl-cert"],
        11 => &["client-cert", "remote-user"],
        13 => &["x-remote-user", "x-client-cert"],
        14 => &["x-remote-group", "x-webauth-user"],
        15 => {
            &["x-remote-groups", "ssl-client-cert", "ssl-client-s-dn", "x-ssl-client-dn", "x-client-verify"]
        }
        16 => &["x-arr-clientcert", "x-amzn-oidc-data"],
        17 => &["client-cert-chain", "ssl-client-verify", "x-ssl-client-cert", "x-ssl-client-s-dn"],
        19 => &["x-auth-request-user", "x-ssl-client-verify", "tailscale-user-name"],
        20 => {
            &["x-authenticated-user", "x-auth-request-email", "x-amzn-oidc-identity", "tailscale-user-login"]
        }
        21 => &["x-auth-request-groups", "x-ms-client-principal"],
        22 => &["x-authenticated-userid", "x-amzn-mtls-clientcert"],
        23 => &["x-amzn-oidc-accesstoken", "cf-access-jwt-assertion"],
        24 => &["x-goog-iap-jwt-assertion", "x-ms-client-principal-id"],
        25 => &["x-ms-client-principal-idp"],
        26 => &["x-ms-client-principal-name"],
        27 => &["x-amzn-mtls-clientcert-leaf"],
        28 => &["x-goog-authenticated-user-id"],
        29 => &["x-amzn-mtls-clientcert-issuer"],
        30 => &["x-amzn-mtls-clientcert-subject"],
        31 => &["x-amzn-mtls-clientcert-validity", "x-goog-authenticated-user-email"],
        33 => &["x-auth-request-preferred-username"],
        34 => &["cf-access-authenticated-user-email"],
        36 => &["x-amzn-mtls-clientcert-serial-number"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_stands_at_its_length() {
        for length in 0..64 {
            for name in addresses(length) {
                assert_eq!((name.len(), claim(name.as_bytes())), (length, Some(Claim::Address)), "{name}");
            }
            for name in identities(length) {
                assert_eq!((name.len(), claim(name.as_bytes())), (length, Some(Claim::Identity)), "{name}");
            }
        }
    }

    #[test]
    fn in_any_spelling() {
        assert_eq!(claim(b"X-Real_IP"), Some(Claim::Address));
        assert_eq!(claim(b"REMOTE_USER"), Some(Claim::Identity));
        for name in [&b"x-tier"[..], b"host", b"x-real-ips", b"cookie", b"authorization", b""] {
            assert_eq!(claim(name), None);
        }
    }
}
