//! A server that all sessions use: who gets what it tells.
//!
//! Its answers and its progress find their caller by our own ids. A changed resource is told to the
//! sessions that subscribed to it. Nothing else that such a server says names a session, so nothing else
//! reaches one: it is dropped and counted. What it asks of a client is refused on record, for no client
//! was announced to it that could do anything.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use chio_json::Json;
use chio_kernel::Kernel;

use crate::connection::UpstreamSource;
use crate::error::{CloseReason, McpError};
use crate::jsonrpc::{ErrorObject, Members, Notification};
use crate::refusals::Refusals;
use crate::servers::ServerSettings;
use crate::servers::record::Record;
use crate::servers::session::Client;
use crate::servers::slot::{Host, Slot, Surroundings};
use crate::servers::subscriptions::{Subscriber, Subscriptions};
use crate::session::Incoming;
use crate::upstream::{Upstream, UpstreamEvents, introduction_as};

/// The server with its sessions.
pub(crate) struct SharedServer {
    slot: Arc<Slot>,
    audience: Arc<Audience>,
}

/// The sessions of a shared server.
struct Audience {
    settings: ServerSettings,
    record: Arc<Record>,
    refusals: Refusals,
    next: AtomicU64,
    patrons: Mutex<HashMap<u64, Arc<Client>>>,
    subscriptions: Arc<Subscriptions>,
}

impl SharedServer {
    pub(super) fn new(
        kernel: &Arc<Kernel>,
        surface: &'static str,
        settings: &ServerSettings,
        record: &Arc<Record>,
        surroundings: &Surroundings,
    ) -> Arc<Self> {
        let audience = Audience {
            settings: settings.clone(),
            record: Arc::clone(record),
            refusals: Refusals::new(kernel, settings.id.clone(), surface),
            next: AtomicU64::new(0),
            patrons: Mutex::default(),
            subscriptions: Arc::default(),
        };
        let slot = Slot::new(settings, record, surroundings);
        Arc::new(Self { slot, audience: Arc::new(audience) })
    }

    /// A session begins to use the server. Answers the number that it is known by here.
    pub(super) fn enter(&self, client: &Arc<Client>) -> u64 {
        let patron = self.audience.next.fetch_add(1, Ordering::Relaxed);
        self.audience.lock().insert(patron, Arc::clone(client));
        patron
    }

    /// A session is over, and its subscriptions with it.
    pub(super) fn leave(&self, patron: u64) {
        self.audience.lock().remove(&patron);
        self.audience.subscriptions.leave(patron);
    }

    pub(super) async fn upstream(&self) -> Result<Arc<Upstream>, McpError> {
        let host = Arc::clone(&self.audience) as Arc<dyn Host>;
        self.slot.upstream(&host).await
    }

    pub(super) fn running(&self) -> Option<Arc<Upstream>> {
        self.slot.running()
    }

    pub(super) fn is_starting(&self) -> bool {
        self.slot.is_starting()
    }

    pub(super) fn subscriber(&self, patron: u64) -> Subscriber {
        self.audience.subscriptions.subscriber(patron)
    }
}

#[async_trait]
impl UpstreamSource for SharedServer {
    async fn upstream(self: Arc<Self>) -> Result<Arc<Upstream>, McpError> {
        Self::upstream(&self).await
    }
}

impl Audience {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        // Every critical section is one operation of the map.
        self.patrons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for Audience {
    fn introduction(&self) -> Result<Json, McpError> {
        introduction_as("chio", env!("CARGO_PKG_VERSION"))
    }

    fn listener(self: Arc<Self>) -> Arc<dyn UpstreamEvents> {
        self
    }

    fn ready(&self, upstream: &Arc<Upstream>) {
        self.subscriptions.renew(upstream);
    }

    fn ended(&self, reason: &CloseReason) {
        let clients: Vec<_> = self.lock().values().cloned().collect();
        for events in clients.iter().filter_map(|client| client.events()) {
            events.ended(&self.settings.id, reason);
        }
    }
}

#[async_trait]
impl UpstreamEvents for Audience {
    async fn request(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        self.refusals.request(request).await
    }

    fn notification(&self, notification: Notification) {
        let uri = (notification.method == "notifications/resources/updated")
            .then(|| Members::parse(notification.params.as_ref()?.get()).ok()?.string("uri"))
            .flatten();
        let Some(uri) = uri else {
            self.record.unattributed();
            return tracing::debug!(
                server = %self.settings.id,
                method = %notification.method,
                "dropped what a shared server said to nobody in particular"
            );
        };
        for patron in self.subscriptions.subscribers_of(&uri) {
            let client = self.lock().get(&patron).cloned();
            if let Some(events) = client.and_then(|client| client.events()) {
                events.notification(&self.settings.id, notification.clone());
            }
        }
    }
}
