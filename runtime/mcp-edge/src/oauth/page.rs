//! The pages that a person sees: plain HTML without script, style, picture or frame.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use url::{Host, Url};

/// What the consent page shows and carries.
pub(super) struct Consent<'a> {
    /// What the client calls itself.
    pub(super) client_name: &'a str,
    /// Whether the operator knows the client already, or it registered itself.
    pub(super) is_registered: bool,
    /// Where the answer goes.
    pub(super) redirect_uri: &'a str,
    /// Whether tools may be called.
    pub(super) may_invoke: bool,
    /// The protected resource.
    pub(super) resource: &'a str,
    /// The signed request.
    pub(super) token: &'a str,
    /// What went wrong with the attempt before.
    pub(super) complaint: Option<&'a str>,
}

/// The consent page.
pub(super) fn consent(page: &Consent<'_>) -> Response {
    let rights = if page.may_invoke {
        "look at the tools, resources and prompts behind this edge, and <strong>call the tools</strong>"
    } else {
        "look at the tools, resources and prompts behind this edge, but not call the tools"
    };
    let origin = if page.is_registered {
        "<p>This program registered itself; the name is only what it calls itself.</p>"
    } else {
        ""
    };
    let complaint = page
        .complaint
        .map(|text| format!("<p role=\"alert\"><strong>{}</strong></p>", escape(text)))
        .unwrap_or_default();
    let body = format!(
        "<h1>Approve access to Chio?</h1>\
         <p>A program that calls itself <strong>{name}</strong> asks to {rights}.</p>{origin}\
         <p>Resource: <code>{resource}</code></p>\
         <p>The answer goes to <code>{redirect}</code></p>{complaint}\
         <form method=\"post\" action=\"/oauth/authorize\">\
         <input type=\"hidden\" name=\"consent\" value=\"{token}\">\
         <p><label>Approval code, as the terminal that runs the edge shows it: \
         <input name=\"approval_code\" autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\">\
         </label></p>\
         <p><button name=\"decision\" value=\"approve\">Approve</button> \
         <button name=\"decision\" value=\"deny\">Deny</button></p></form>",
        name = escape(page.client_name),
        resource = escape(page.resource),
        redirect = escape(page.redirect_uri),
        token = escape(page.token),
    );
    let status = if page.complaint.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    html(status, &body, &format!("'self' {}", redirect_source(page.redirect_uri)))
}

/// What the policy has to name so that the form may lead to the client: browsers apply `form-action` to the redirect that
/// follows, too. A source cannot be an IPv6 address, so there the scheme has to do.
fn redirect_source(redirect_uri: &str) -> String {
    match Url::parse(redirect_uri) {
        Ok(url) if matches!(url.host(), Some(Host::Ipv6(_))) => format!("{}:", url.scheme()),
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => String::new(),
    }
}

/// A page for a request that cannot be answered to its client, because it is not clear who that is.
pub(super) fn refusal(status: StatusCode, reason: &str) -> Response {
    html(status, &format!("<h1>This request cannot be approved</h1><p>{}</p>", escape(reason)), "'none'")
}

fn html(status: StatusCode, body: &str, form_action: &str) -> Response {
    let text = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Chio</title></head>\
         <body>{body}</body></html>"
    );
    let policy =
        format!("default-src 'none'; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Not no-referrer: browsers would then send the form with "Origin: null", which is refused.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    let strictest = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).unwrap_or(strictest));
    response
}

/// Text as it may stand in HTML, in an element or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
