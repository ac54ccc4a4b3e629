//! What the edge counts, in the text format of OpenMetrics.
//!
//! Labels come from closed lists: no client can make a new time series.

use std::fmt::Write;

use chio_spec::ErrorCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use serde::Deserialize;

use crate::sessions::Census;

/// The methods that are counted by name.
const METHODS: [&str; 24] = [
    "completion/complete",
    "elicitation/create",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "roots/list",
    "sampling/createMessage",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tools/call",
    "tools/list",
];

/// What became of a message at the HTTP surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered as JSON.
    Answered,
    /// Answered, or to be answered, on an event stream.
    Streamed,
    /// Taken; it needs no answer.
    Accepted,
    /// Not taken by the session, or no session for it.
    Refused,
    /// Taken, and failed before the session was there.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Streamed => "streamed",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabels {
    server: String,
}

/// The counters of one edge.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register(
            "chio_mcp_requests",
            "Messages of clients, by method and by what became of them",
            requests.clone(),
        );
        let decisions = Family::default();
        registry.register(
            "chio_mcp_decisions",
            "Calls that were answered with a decision of the kernel, by decision",
            decisions.clone(),
        );
        let refused = Family::default();
        registry.register(
            "chio_mcp_refused",
            "HTTP requests that the edge refused, by the name of the error",
            refused.clone(),
        );
        Self { registry, requests, decisions, refused }
    }

    pub(crate) fn request(&self, method: &str, outcome: Outcome) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        self.requests.get_or_create(&RequestLabels { method, outcome: outcome.as_str() }).inc();
    }

    pub(crate) fn refused(&self, code: ErrorCode) {
        self.refused.get_or_create(&ReasonLabels { reason: code.name() }).inc();
    }

    /// Counts the decision behind an answer to a client, where there is one.
    pub(crate) fn answered(&self, text: &str) {
        if let Some(decision) = decision(text) {
            self.decisions.get_or_create(&DecisionLabels { decision }).inc();
        }
    }

    /// Everything that is counted, and what the sessions hold now. `restarts`: of each server behind the edge.
    pub(crate) fn text(&self, census: &Census, restarts: impl IntoIterator<Item = (String, u64)>) -> String {
        let mut now = Registry::default();
        let sessions = Family::<StateLabels, Gauge>::default();
        let ended = Family::<StateLabels, Counter>::default();
        for (state, count) in &census.states {
            let labels = StateLabels { state: state.as_str() };
            if state.is_terminal() {
                ended.get_or_create(&labels).inc_by(*count);
            } else {
                sessions.get_or_create(&labels).set(gauge(*count));
            }
        }
        now.register("chio_mcp_sessions", "Sessions that are not over, by state", sessions);
        now.register("chio_mcp_sessions_ended", "Sessions that are over, by how they ended", ended);
        let holding = census.holding;
        let gauges = [
            ("chio_mcp_in_flight", "Requests in flight", holding.in_flight),
            ("chio_mcp_streams", "Connections that read an event stream", holding.streams),
            (
                "chio_mcp_buffered_bytes",
                "Bytes of messages that wait for their client",
                holding.pending_bytes,
            ),
        ];
        for (name, help, value) in gauges {
            now.register(name, help, ConstGauge::new(gauge(value as u64)));
        }
        let dropped = ConstCounter::new(holding.dropped);
        now.register("chio_mcp_dropped_messages", "Messages that no client could be told", dropped);
        let by_server = Family::<ServerLabels, Counter>::default();
        for (server, restarts) in restarts {
            by_server.get_or_create(&ServerLabels { server }).inc_by(restarts);
        }
        now.register("chio_mcp_upstream_restarts", "Starts of a server after it had failed", by_server);

        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &now))
            .and_then(|()| encode_eof(&mut text));
        if written.is_err() {
            // Writing to a string does not fail.
            let _ = text.write_str("");
        }
        text
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The decision that an answer states: the edge writes it into every result of a call, and a refusal by category.
fn decision(text: &str) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default)]
        result: Option<Body<'a>>,
        #[serde(borrow, default)]
        error: Option<Failure<'a>>,
    }
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default, rename = "_meta")]
        meta: Option<Meta<'a>>,
    }
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(borrow, default, rename = "chio.dev/decision")]
        decision: Option<&'a str>,
    }
    #[derive(Deserialize)]
    struct Failure<'a> {
        #[serde(borrow, default)]
        data: Option<Data<'a>>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow, default, rename = "chioError")]
        entry: Option<Entry<'a>>,
    }
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow, default)]
        category: Option<&'a str>,
    }

    let answer: Answer<'_> = serde_json::from_str(text).ok()?;
    if let Some(decision) = answer.result.and_then(|body| body.meta?.decision) {
        return ["allow", "deny", "cancelled", "incomplete"].into_iter().find(|known| *known == decision);
    }
    let category = answer.error.and_then(|failure| failure.data?.entry?.category)?;
    matches!(category, "capability" | "guard" | "budget").then_some("deny")
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Outcome, decision};
    use crate::sessions::Census;

    #[test]
    fn decisions_are_read_from_results_and_refusals() {
        let result = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"x":"}"}],"_meta":{"a":1,"chio.dev/decision":"allow"}}}"#;
        assert_eq!(decision(result), Some("allow"));
        assert_eq!(decision(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#), None);
        assert_eq!(
            decision(r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"chio.dev/decision":"maybe"}}}"#),
            None
        );
        let denied = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":{"chioError":{"category":"guard"}}}}"#;
        assert_eq!(decision(denied), Some("deny"));
        assert_eq!(decision(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}"#), None);
        assert_eq!(decision("no json"), None);
    }

    #[test]
    fn no_client_can_make_a_time_series() {
        let metrics = Metrics::new();
        for number in 0..1000 {
            metrics.request(&format!("method/{number}"), Outcome::Answered);
        }
        metrics.request("tools/call", Outcome::Streamed);
        let text = metrics.text(&Census::default(), [("files".to_owned(), 3)]);
        let series: Vec<_> =
            text.lines().filter(|line| line.starts_with("chio_mcp_requests_total")).collect();
        assert_eq!(series.len(), 2, "{text}");
        assert!(
            text.contains(r#"chio_mcp_requests_total{method="other",outcome="answered"} 1000"#),
            "{text}"
        );
        assert!(text.contains(r#"chio_mcp_upstream_restarts_total{server="files"} 3"#), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
