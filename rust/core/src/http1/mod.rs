//! HTTP/1.1 heads and framing (RFC 9112), sans-IO.
