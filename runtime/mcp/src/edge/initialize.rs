//! Initialization: what client and servers are told of each other.
//!
//! A relayed session is negotiated by client and server themselves; the edge takes out of both sides' words what it
//! does not carry. A hosted session speaks the one version that the edge supports, by exact match (seed, "Version
//! Negotiation"). With one server behind it the edge introduces itself as that server, which therefore has to start;
//! with several it introduces itself as what it is, and they start when they are first needed.

use std::sync::Arc;

use chio_json::Json;
use chio_kernel::Target;
use chio_spec::versions::MCP_PROTOCOL_VERSIONS;
use chio_spec::{ErrorCode, ServerId, ToolName};
use serde_json::{Value, json};

use crate::edge::capabilities::{Announced, ClientCapabilities};
use crate::edge::events::FromServers;
use crate::edge::methods::INITIALIZED;
use crate::edge::params::{Params, invalid};
use crate::edge::results::{strip_meta, upstream_error};
use crate::edge::{Edge, Mode};
use crate::jsonrpc::{ErrorObject, INVALID_REQUEST, Members, quote};
use crate::registry::{chio_error, entry};
use crate::servers::{Introduction, Owner};
use crate::session::Incoming;
use crate::upstream::{Upstream, empty_object};

/// What the two sides were told of each other.
#[derive(Debug)]
pub(super) struct Introduced {
    pub(super) client: Arc<ClientCapabilities>,
    pub(super) announced: Announced,
}

impl Edge {
    pub(super) async fn initialize(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        if !self.phases.is_begun_by(&request.id) {
            return Err(ErrorObject::new(INVALID_REQUEST, "this session is initialized already"));
        }
        let answer = match (self.settings.mode, &self.relayed) {
            (Mode::Relay, Some(upstream)) => self.initialize_relayed(request, upstream).await,
            (Mode::Relay, None) => Err(chio_error(ErrorCode::InternalError, None, None)),
            (Mode::Hosted { counter_offer }, _) => self.initialize_hosted(request, counter_offer).await,
        };
        let answer = answer.map(|(result, introduced)| {
            // Only one request begins the initialization, so this is the first.
            let _ = self.introduced.set(introduced);
            result
        });
        if self.phases.end(answer.is_ok()) {
            self.tell_ready();
        }
        self.phases.wake();
        answer
    }

    /// Says to the servers who takes what they say, before anything is known of the client.
    pub(super) fn listen(&self) {
        let nothing: Arc<dyn Fn(&ServerId) -> Json + Send + Sync> = Arc::new(|_| empty_object());
        self.introduce(supported().to_owned(), empty_object(), nothing);
    }

    /// A relayed server is told by the client, through us; all others were told when they started.
    pub(super) fn tell_ready(&self) {
        if let Some(upstream) = &self.relayed {
            upstream.notify(INITIALIZED, None);
        }
    }

    async fn initialize_relayed(
        &self,
        request: &Incoming,
        upstream: &Upstream,
    ) -> Result<(Json, Introduced), ErrorObject> {
        let asked = Params::of(request)?;
        let meta = asked.meta()?;
        let mut params = asked.only(&["protocolVersion", "capabilities", "clientInfo"]);
        if meta.forward != "{}" {
            params.set("_meta", meta.forward);
        }
        let client = Arc::new(ClientCapabilities::of(params.get("capabilities")));
        if let Some(member) = self.only_member() {
            params.set("capabilities", self.told(&client, member.id()).get().to_owned());
        }
        let params = params.to_json().map_err(|error| invalid(&error.to_string()))?;
        let result = upstream.initialize(&params).await.map_err(upstream_error)?.result.clone();
        let announced = Announced::of_server(&result, Owner::Session).map_err(|reason| broken(&reason))?;
        let result = with_capabilities(&result, &announced, None)?;
        Ok((result, Introduced { client, announced }))
    }

    async fn initialize_hosted(
        &self,
        request: &Incoming,
        counter_offer: bool,
    ) -> Result<(Json, Introduced), ErrorObject> {
        let params = Params::of(request)?;
        check_version(params.members.get("protocolVersion"), counter_offer)?;
        let client = Arc::new(ClientCapabilities::of(params.members.get("capabilities")));
        let info = match params.members.get("clientInfo") {
            Some(_) => params.object("clientInfo")?,
            None => Json::from_value(&json!({"name": "unknown", "version": "0"})),
        };
        let (authority, kept) = (Arc::clone(&self.settings.authority), Arc::clone(&client));
        let told = move |server: &ServerId| kept.reduced(|method| is_granted(&authority, method, server));
        self.introduce(supported().to_owned(), info, Arc::new(told));

        let (result, announced) = match self.only_member() {
            Some(member) => {
                let upstream = member.upstream().await.map_err(upstream_error)?;
                let result = upstream.initialized().map(|initialized| initialized.result.clone());
                let result = result.ok_or_else(|| broken("the server was not initialized"))?;
                let announced =
                    Announced::of_server(&result, member.owner()).map_err(|reason| broken(&reason))?;
                (result, announced)
            }
            None => {
                let own = self.members().iter().any(|member| member.owner() == Owner::Session);
                let this = json!({"serverInfo": {
                    "name": "chio", "title": "Chio", "version": env!("CARGO_PKG_VERSION"),
                }});
                (Json::from_value(&this), Announced::anything(own))
            }
        };
        let shown = announced.clone().with_protocol(supported(), counter_offer);
        let result = with_capabilities(&result, &shown, Some(supported()))?;
        Ok((result, Introduced { client, announced }))
    }

    fn introduce(
        &self,
        protocol_version: String,
        client_info: Json,
        capabilities: Arc<dyn Fn(&ServerId) -> Json + Send + Sync>,
    ) {
        let events = Arc::new(FromServers::of(self.me.clone()));
        let introduction = Introduction { protocol_version, client_info, capabilities };
        self.settings.servers.introduce(introduction, events);
    }

    /// What a server is told of the client.
    fn told(&self, client: &ClientCapabilities, server: &ServerId) -> Json {
        client.reduced(|method| self.may_ask(method, server))
    }

    /// Whether the policy lets a server make this request of the client.
    pub(super) fn may_ask(&self, method: &str, server: &ServerId) -> bool {
        is_granted(&self.settings.authority, method, server)
    }
}

fn is_granted(authority: &chio_kernel::LocalAuthority, method: &str, server: &ServerId) -> bool {
    ToolName::new(method).is_ok_and(|method| authority.covers(&Target::ClientRequest { method }, server))
}

/// The version that the hosted edge speaks.
fn supported() -> &'static str {
    MCP_PROTOCOL_VERSIONS.first().copied().unwrap_or_default()
}

/// The seed lets the client leave the version out, and knows no downgrade; MCP would have the server name its own.
fn check_version(requested: Option<&str>, counter_offer: bool) -> Result<(), ErrorObject> {
    let Some(requested) = requested else { return Ok(()) };
    let Ok(version) = serde_json::from_str::<String>(requested) else {
        let mut wrong = entry(ErrorCode::InvalidRequestShape);
        if let Some(wrong) = wrong.as_object_mut() {
            wrong.insert("parameter".to_owned(), "protocolVersion".into());
        }
        let code = i64::from(ErrorCode::InvalidRequestShape.jsonrpc_code());
        let error = ErrorObject::new(code, "`protocolVersion` must be a string");
        return Err(error.with_data(Json::from_value(&json!({"chioError": wrong}))));
    };
    if counter_offer || MCP_PROTOCOL_VERSIONS.contains(&version.as_str()) {
        return Ok(());
    }
    let data = json!({
        "chioError": entry(ErrorCode::ProtocolVersionUnsupported),
        "requested": version,
        "supported": MCP_PROTOCOL_VERSIONS,
        "requestedProtocolVersion": version,
        "supportedProtocolVersions": MCP_PROTOCOL_VERSIONS,
    });
    Err(ErrorObject::new(INVALID_REQUEST, "unsupported protocolVersion").with_data(Json::from_value(&data)))
}

/// A server's answer to initialization, with what this edge announces in place of its capabilities.
fn with_capabilities(
    result: &Json,
    announced: &Announced,
    version: Option<&str>,
) -> Result<Json, ErrorObject> {
    let mut members = Members::parse(result.get()).map_err(|error| broken(&error.to_string()))?;
    if let Some(version) = version {
        members.set("protocolVersion", quote(version));
    }
    let capabilities: Value = announced.to_value();
    members.set("capabilities", capabilities.to_string());
    strip_meta(&mut members);
    members.to_json().map_err(|error| broken(&error.to_string()))
}

fn broken(reason: &str) -> ErrorObject {
    chio_error(ErrorCode::ToolServerError, Some(&format!("the initialization: {reason}")), None)
}
