//! The servers as one client session sees them.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use chio_json::Json;
use chio_spec::ServerId;

use crate::connection::{CallRelay, Following, WrappedServer};
use crate::error::{CloseReason, McpError};
use crate::jsonrpc::{ErrorObject, METHOD_NOT_FOUND, Members, Notification, quote};
use crate::process::Exit;
use crate::servers::shared::SharedServer;
use crate::servers::slot::{Host, Slot};
use crate::servers::{Fleet, Owner, Server};
use crate::session::{Incoming, RequestOptions};
use crate::upstream::{Upstream, UpstreamEvents};

/// The client behind a session, as its own servers are told of it.
pub struct Introduction {
    /// The protocol version to ask for.
    pub protocol_version: String,
    /// Who the client says it is.
    pub client_info: Json,
    /// What the client can do, reduced to what the server of that id may use of it.
    pub capabilities: Arc<dyn Fn(&ServerId) -> Json + Send + Sync>,
}

/// What becomes of what a session's servers ask and tell.
#[async_trait]
pub trait ServerEvents: Send + Sync + 'static {
    /// Answers a request of the server; `ping` is answered below. Shared servers never ask a session.
    async fn request(&self, server: &ServerId, request: &Incoming) -> Result<Json, ErrorObject>;

    /// Takes a notification, in order. Must not block. Of a shared server only what is this session's.
    fn notification(&self, server: &ServerId, notification: Notification);

    /// A server of the session's own was started and is ready; nobody has it yet. Must not block.
    fn ready(&self, server: &ServerId, upstream: &Arc<Upstream>) {
        let _ = (server, upstream);
    }

    /// Whether the client counts on the server although it asks nothing of it now. Such a server is not ended to make
    /// room for another.
    fn counts_on(&self, server: &ServerId) -> bool {
        let _ = server;
        false
    }

    /// The server ended by itself; it is started again when it is next needed. Must not block.
    fn ended(&self, server: &ServerId, reason: &CloseReason);
}

/// The servers of one client session. Dropping it ends those that are the session's own.
pub struct SessionServers {
    members: Vec<Member>,
    client: Arc<Client>,
    /// Its end would be the end of all servers.
    _fleet: Arc<Fleet>,
}

/// What is known of the session's client.
#[derive(Default)]
pub(super) struct Client {
    introduced: RwLock<Option<Introduced>>,
}

struct Introduced {
    introduction: Arc<Introduction>,
    events: Arc<dyn ServerEvents>,
}

/// One server in one session.
pub struct Member {
    server: Arc<Server>,
    place: Place,
}

enum Place {
    Own { slot: Arc<Slot>, host: Arc<dyn Host> },
    Shared { server: Arc<SharedServer>, patron: u64 },
}

impl SessionServers {
    pub(super) fn new(fleet: &Arc<Fleet>) -> Arc<Self> {
        let client = Arc::new(Client::default());
        let members = fleet
            .servers
            .iter()
            .map(|server| {
                let place = match &server.shared {
                    Some(shared) => {
                        Place::Shared { server: Arc::clone(shared), patron: shared.enter(&client) }
                    }
                    None => {
                        let id = server.settings.id.clone();
                        let host = Arc::new(OwnServer { id, client: Arc::clone(&client) });
                        Place::Own { slot: server.slot(&fleet.surroundings), host }
                    }
                };
                Member { server: Arc::clone(server), place }
            })
            .collect();
        Arc::new(Self { members, client, _fleet: Arc::clone(fleet) })
    }

    /// The servers in configured order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The server of that id.
    #[must_use]
    pub fn get(&self, id: &ServerId) -> Option<&Member> {
        self.members.iter().find(|member| member.id() == id)
    }

    /// Says who the client is, and who takes what its servers ask and tell. Before this, none of the
    /// session's own servers can be initialized. `events` must not hold this object, which holds them.
    pub fn introduce(&self, introduction: Introduction, events: Arc<dyn ServerEvents>) {
        let mut introduced = self.client.introduced.write().unwrap_or_else(PoisonError::into_inner);
        *introduced = Some(Introduced { introduction: Arc::new(introduction), events });
    }

    /// Ends the session's own servers with everything that they started, also those that are just
    /// starting, and withdraws the session's subscriptions from the shared ones. None of the session's
    /// own servers starts any more.
    pub async fn close(&self) {
        self.abandon();
        for member in &self.members {
            if let Place::Own { slot, .. } = &member.place {
                slot.close().await;
            }
        }
    }

    /// All at once, so that the slowest end is the longest that [`SessionServers::close`] takes.
    fn abandon(&self) {
        for member in &self.members {
            match &member.place {
                Place::Own { slot, .. } => slot.abandon(),
                Place::Shared { server, patron } => server.leave(*patron),
            }
        }
        // The events may hold the client's session, which would outlive it here.
        *self.client.introduced.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for SessionServers {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Member {
    /// The server's name in grants and receipts.
    #[must_use]
    pub fn id(&self) -> &ServerId {
        &self.server.settings.id
    }

    /// Whose the server is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.server.settings.owner
    }

    /// The server as the kernel sees it.
    #[must_use]
    pub fn wrapped(&self) -> &Arc<WrappedServer> {
        &self.server.wrapped
    }

    /// The server, initialized and told so; it is started if it does not run. Giving up waiting does not
    /// end the start.
    ///
    /// # Errors
    /// [`McpError::Unavailable`] at once while the server is left alone after a failure;
    /// [`McpError::TooManyServers`]; what the start or the initialization failed with.
    pub async fn upstream(&self) -> Result<Arc<Upstream>, McpError> {
        match &self.place {
            Place::Own { slot, host } => slot.upstream(host).await,
            Place::Shared { server, .. } => server.upstream().await,
        }
    }

    /// The server, started but not initialized: for a surface that relays the negotiation itself and calls
    /// [`Upstream::initialize`]. From then on [`Member::upstream`] is this one.
    ///
    /// # Errors
    /// As [`Member::upstream`]; [`McpError::InvalidParams`] for a shared server, which is initialized for all.
    pub fn start(&self) -> Result<Arc<Upstream>, McpError> {
        match &self.place {
            Place::Own { slot, host } => slot.start(host),
            Place::Shared { .. } => Err(McpError::InvalidParams(
                "a shared server cannot be initialized by one of its sessions".to_owned(),
            )),
        }
    }

    /// The server, if it runs and is initialized.
    #[must_use]
    pub fn running(&self) -> Option<Arc<Upstream>> {
        match &self.place {
            Place::Own { slot, .. } => slot.running(),
            Place::Shared { server, .. } => server.running(),
        }
    }

    /// Whether the server was started and is not initialized yet.
    pub(crate) fn is_starting(&self) -> bool {
        match &self.place {
            Place::Own { slot, .. } => slot.is_starting(),
            Place::Shared { server, .. } => server.is_starting(),
        }
    }

    /// How the session's own server ended the last time, where it is a process.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        match &self.place {
            Place::Own { slot, .. } => slot.exit(),
            Place::Shared { .. } => None,
        }
    }

    /// Prepares one call to the server: see [`WrappedServer::follow_server`], which this is for whoever acts
    /// for this session. Subscriptions to a shared server are then counted as this session's.
    ///
    /// # Errors
    /// [`McpError::InvalidParams`] when `meta` is not an object.
    pub fn follow(
        &self,
        upstream: Arc<Upstream>,
        meta: Option<&str>,
        following: Following,
    ) -> Result<(Json, CallRelay), McpError> {
        let subscriber = match &self.place {
            Place::Own { .. } => None,
            Place::Shared { server, patron } => Some(server.subscriber(*patron)),
        };
        self.wrapped().follow(upstream, subscriber, meta, following)
    }

    /// Prepares one call to the server that [`Member::upstream`] did not give, so that the call still gets its
    /// decision and its receipt: see [`WrappedServer::follow_failure`].
    ///
    /// # Errors
    /// [`McpError::InvalidParams`] when `meta` is not an object.
    pub fn follow_failure(
        &self,
        reason: McpError,
        meta: Option<&str>,
    ) -> Result<(Json, CallRelay), McpError> {
        self.wrapped().follow_failure(reason, meta)
    }

    /// Ends a subscription of this session; a shared server is told when it was the last one to this URI.
    /// `params` are those of `resources/unsubscribe`.
    ///
    /// # Errors
    /// As [`Session::request`](crate::session::Session::request).
    pub async fn unsubscribe(
        &self,
        upstream: &Upstream,
        params: &Json,
        options: RequestOptions,
    ) -> Result<Json, McpError> {
        match &self.place {
            Place::Own { .. } => upstream.request("resources/unsubscribe", Some(params), options).await,
            Place::Shared { server, patron } => server.subscriber(*patron).unsubscribe(params).await,
        }
    }
}

impl Client {
    pub(super) fn events(&self) -> Option<Arc<dyn ServerEvents>> {
        let introduced = self.introduced.read().unwrap_or_else(PoisonError::into_inner);
        introduced.as_ref().map(|introduced| Arc::clone(&introduced.events))
    }

    fn introduction(&self) -> Option<Arc<Introduction>> {
        let introduced = self.introduced.read().unwrap_or_else(PoisonError::into_inner);
        introduced.as_ref().map(|introduced| Arc::clone(&introduced.introduction))
    }
}

/// A server of the session's own.
struct OwnServer {
    id: ServerId,
    client: Arc<Client>,
}

impl Host for OwnServer {
    fn introduction(&self) -> Result<Json, McpError> {
        let introduction = self.client.introduction().ok_or_else(|| McpError::NotInitialized {
            reason: "the client has not introduced itself yet".to_owned(),
        })?;
        let capabilities = (introduction.capabilities)(&self.id);
        let mut params = Members::default();
        params.set("protocolVersion", quote(&introduction.protocol_version));
        params.set("capabilities", capabilities.get());
        params.set("clientInfo", introduction.client_info.get());
        params.to_json().map_err(|error| McpError::InvalidParams(error.to_string()))
    }

    fn listener(self: Arc<Self>) -> Arc<dyn UpstreamEvents> {
        self
    }

    fn may_end(&self) -> bool {
        !self.client.events().is_some_and(|events| events.counts_on(&self.id))
    }

    fn ready(&self, upstream: &Arc<Upstream>) {
        if let Some(events) = self.client.events() {
            events.ready(&self.id, upstream);
        }
    }

    fn ended(&self, reason: &CloseReason) {
        if let Some(events) = self.client.events() {
            events.ended(&self.id, reason);
        }
    }
}

#[async_trait]
impl UpstreamEvents for OwnServer {
    async fn request(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        match self.client.events() {
            Some(events) => events.request(&self.id, request).await,
            None => {
                let text = format!("{} is not available here", request.method);
                Err(ErrorObject::new(METHOD_NOT_FOUND, text))
            }
        }
    }

    fn notification(&self, notification: Notification) {
        if let Some(events) = self.client.events() {
            events.notification(&self.id, notification);
        }
    }
}
