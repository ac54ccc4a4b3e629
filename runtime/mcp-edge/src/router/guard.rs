//! `Host` and `Origin`: whom a request thinks it talks to, and which page sent it.
//!
//! A browser can be made to send requests to a loopback address by a page from anywhere (DNS rebinding). Such a
//! request names the page's host, so every request must name one of ours, port included. A page's own requests carry
//! its origin, so that must be ours too, or one that the operator allowed (MCP, "Security Warning").

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use chio_spec::ErrorCode;
use url::Url;

use crate::config::EdgeConfig;
use crate::refusal::Refusal;

/// What pages of allowed origins may send, and read of the answers.
const PAGE_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
const PAGE_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Accept, MCP-Session-Id, MCP-Protocol-Version, Last-Event-ID, Mcp-Method, Mcp-Name, \
     Chio-Capability, Chio-Ancestors, Chio-Dpop-Proof",
);
const PAGE_READS: HeaderValue = HeaderValue::from_static("MCP-Session-Id, WWW-Authenticate, Retry-After");

/// The hosts and origins that requests may name, in lower case.
pub(super) struct Guard {
    hosts: HashSet<String>,
    own_origins: HashSet<String>,
    foreign_origins: HashSet<String>,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, config: &EdgeConfig) -> Self {
        let mut guard =
            Self { hosts: HashSet::new(), own_origins: HashSet::new(), foreign_origins: HashSet::new() };
        for name in names_of(address.ip()) {
            guard.own("http", &format!("{name}:{}", address.port()));
            if address.port() == 80 {
                guard.own("http", &name);
            }
        }
        if let Some(url) = &config.public_url {
            guard.public(url);
        }
        for host in &config.allowed_hosts {
            guard.own("http", host);
            guard.own("https", host);
        }
        let origins = config.allowed_origins.iter();
        guard.foreign_origins =
            origins.map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        guard
    }

    fn public(&mut self, url: &Url) {
        let Some(host) = url.host_str() else { return };
        match url.port() {
            Some(port) => self.own(url.scheme(), &format!("{host}:{port}")),
            None => {
                self.own(url.scheme(), host);
                // The default port may be written out.
                if let Some(port) = url.port_or_known_default() {
                    self.hosts.insert(format!("{host}:{port}"));
                }
            }
        }
    }

    fn own(&mut self, scheme: &str, host: &str) {
        let host = host.to_ascii_lowercase();
        self.own_origins.insert(format!("{scheme}://{host}"));
        self.hosts.insert(host);
    }

    pub(super) fn check(&self, request: &Request<Body>) -> Result<(), Refusal> {
        self.check_host(request)?;
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let known = self.own_origins.contains(&origin) || self.foreign_origins.contains(&origin);
        if known && origins.next().is_none() {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::OriginRefused, "origin not allowed"))
    }

    fn check_host(&self, request: &Request<Body>) -> Result<(), Refusal> {
        let malformed =
            |text| Refusal::new(ErrorCode::OriginRefused, text).with_status(StatusCode::BAD_REQUEST);
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().ok_or_else(|| malformed("the request has no Host header"))?;
        if hosts.next().is_some() {
            return Err(malformed("the request has more than one Host header"));
        }
        let host = host.to_str().ok().filter(|host| host.parse::<Authority>().is_ok() && !host.contains('@'));
        let host = host.ok_or_else(|| malformed("the Host header is malformed"))?;
        // A target in absolute form counts before the header (RFC 9112, 3.2.2).
        let target = request.uri().authority().map_or(host, Authority::as_str);
        if [host, target].iter().all(|name| self.hosts.contains(&name.to_ascii_lowercase())) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::OriginRefused,
            "this edge does not serve the host that the request names",
        ))
    }

    /// The request's origin when it is one that the operator allowed.
    pub(super) fn foreign_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let known = self.foreign_origins.contains(&origin.to_str().ok()?.to_ascii_lowercase());
        known.then(|| origin.clone())
    }

    /// The answer to a browser that asks what a page of an allowed origin may do. It carries no credentials, so it is
    /// answered before they are asked for.
    pub(super) fn preflight(&self, request: &Request<Body>) -> Option<Response> {
        if request.method() != Method::OPTIONS
            || !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        self.foreign_origin(request.headers())?;
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, PAGE_METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, PAGE_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(response)
    }
}

/// Lets a page of this origin read the response.
pub(super) fn allow(response: &mut Response, origin: Option<HeaderValue>) {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, PAGE_READS);
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

/// The names under which an address is reached from this machine.
fn names_of(address: IpAddr) -> Vec<String> {
    let written = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    if address.is_loopback() || address.is_unspecified() {
        let loopback =
            ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), format!("[{}]", Ipv6Addr::LOCALHOST)];
        return loopback.into_iter().chain([written]).collect();
    }
    vec![written]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn guard() -> Guard {
        let config = EdgeConfig {
            public_url: Some("https://edge.example.org".parse().unwrap()),
            allowed_hosts: vec!["Proxy.internal:9000".to_owned()],
            allowed_origins: vec!["https://app.example.com".to_owned()],
            ..EdgeConfig::default()
        };
        Guard::new("127.0.0.1:8931".parse().unwrap(), &config)
    }

    fn status(uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refusal = guard().check(&request.body(Body::empty()).unwrap()).err()?;
        Some(refusal.into_response().status().as_u16())
    }

    #[test]
    fn hosts_are_compared_whole_port_included() {
        for ours in [
            "127.0.0.1:8931",
            "localhost:8931",
            "LOCALHOST:8931",
            "[::1]:8931",
            "edge.example.org",
            "edge.example.org:443",
            "proxy.internal:9000",
        ] {
            assert_eq!(status("/mcp", &[("host", ours)]), None, "{ours}");
        }
        for foreign in [
            "localhost",
            "127.0.0.1",
            "localhost:8932",
            "evil.example.com",
            "evil.example.com:8931",
            "localhost.:8931",
            "localhost:08931",
            "127.0.0.1:8931.evil.example.com",
            "edge.example.org.evil.example.com",
            "edge.example.org:8931",
            "proxy.internal",
            "0.0.0.0:8931",
            "[::ffff:127.0.0.1]:8931",
        ] {
            assert!(matches!(status("/mcp", &[("host", foreign)]), Some(400 | 403)), "{foreign}");
        }
    }

    #[test]
    fn a_missing_duplicate_or_malformed_host_is_refused() {
        assert_eq!(status("/mcp", &[]), Some(400));
        assert_eq!(status("/mcp", &[("host", "localhost:8931"), ("host", "localhost:8931")]), Some(400));
        for malformed in
            ["", "a b", "user@localhost:8931", "http://localhost:8931", "localhost:8931/", "[::1", "é"]
        {
            assert_eq!(status("/mcp", &[("host", malformed)]), Some(400), "{malformed:?}");
        }
    }

    #[test]
    fn a_target_in_absolute_form_must_be_ours_too() {
        assert_eq!(status("http://localhost:8931/mcp", &[("host", "localhost:8931")]), None);
        assert_eq!(status("http://evil.example.com/mcp", &[("host", "localhost:8931")]), Some(403));
        assert_eq!(status("http://localhost:8931/mcp", &[("host", "evil.example.com")]), Some(403));
    }

    #[test]
    fn origins_are_ours_or_allowed() {
        let with = |origin| status("/mcp", &[("host", "localhost:8931"), ("origin", origin)]);
        for ours in [
            "http://localhost:8931",
            "HTTP://127.0.0.1:8931",
            "https://edge.example.org",
            "https://app.example.com",
        ] {
            assert_eq!(with(ours), None, "{ours}");
        }
        for foreign in [
            "null",
            "",
            "http://evil.example.com",
            "https://localhost:8931",
            "http://localhost",
            "http://localhost:3000",
            "http://localhost:8931.evil.example.com",
            "http://localhost:8931/",
            "http://edge.example.org",
            "http://app.example.com",
            "https://app.example.com.evil.example.com",
        ] {
            assert_eq!(with(foreign), Some(403), "{foreign}");
        }
        let twice = [
            ("host", "localhost:8931"),
            ("origin", "http://localhost:8931"),
            ("origin", "http://localhost:8931"),
        ];
        assert_eq!(status("/mcp", &twice), Some(403));
    }
}
