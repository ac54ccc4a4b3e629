//! What the edge needs of the process around it: a session before the kernel for each client session.
//!
//! What a caller is given belongs to the caller, not to the session: budgets do not begin anew with every session, and
//! revoking what one session was given ends the others of the same caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chio_core::keys::SigningKey;
use chio_kernel::{Kernel, LocalAuthority};
use chio_mcp::channel::Channel;
use chio_mcp::edge::{Edge, EdgeSettings, Mode};
use chio_mcp::servers::{Fleet, ServerStatus};
use chio_mcp_edge::{Host, Serving};
use chio_policy::{EffectivePolicy, Identity};
use chio_spec::ErrorCode;
use tokio_util::sync::CancellationToken;

use crate::cli::keys;
use crate::cli::node::Node;

/// Callers whose authority is remembered. Above that, those without a session are forgotten.
const REMEMBERED: usize = 10_000;

/// Opens sessions before one kernel.
pub(super) struct EdgeHost {
    kernel: Arc<Kernel>,
    fleet: Arc<Fleet>,
    policy: Arc<EffectivePolicy>,
    key: Arc<SigningKey>,
    surface: &'static str,
    counter_offer: bool,
    requests_in_flight: usize,
    authorities: Mutex<HashMap<Caller, Arc<LocalAuthority>>>,
}

/// A caller, and the rule of the policy that decides what it is given.
#[derive(PartialEq, Eq, Hash)]
struct Caller {
    principal: String,
    client_id: Option<String>,
    /// The identity rule of the policy that describes the caller, if any does.
    rule: Option<usize>,
}

impl EdgeHost {
    pub(super) fn new(
        node: &Node,
        fleet: Arc<Fleet>,
        surface: &'static str,
        counter_offer: bool,
        requests_in_flight: usize,
    ) -> Self {
        Self {
            kernel: Arc::clone(&node.kernel),
            fleet,
            policy: Arc::clone(node.kernel.policy()),
            key: node.authority(),
            surface,
            counter_offer,
            requests_in_flight,
            authorities: Mutex::default(),
        }
    }

    /// The authority of a caller, made when it is first seen.
    fn authority(&self, identity: &Identity) -> Result<Arc<LocalAuthority>, ErrorCode> {
        let caller = Caller {
            principal: identity.principal.clone(),
            client_id: identity.client_id.clone(),
            rule: self.policy.rule_for(identity),
        };
        let mut authorities = self.authorities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = authorities.get(&caller) {
            return Ok(Arc::clone(authority));
        }
        if authorities.len() >= REMEMBERED {
            authorities.retain(|_, authority| Arc::strong_count(authority) > 1);
        }
        // Nobody else can use what is issued to this key, because its private half is dropped here.
        let subject = keys::generate().map_err(|failure| {
            tracing::error!(error = failure.message(), "a session cannot be opened");
            ErrorCode::InternalError
        })?;
        let (key, policy) = (Arc::clone(&self.key), Arc::clone(&self.policy));
        let authority = Arc::new(LocalAuthority::new(key, policy, subject.public().hex(), identity.clone()));
        authorities.insert(caller, Arc::clone(&authority));
        Ok(authority)
    }
}

impl Host for EdgeHost {
    fn open(
        &self,
        identity: &Arc<Identity>,
        session_id: &str,
        channel: Channel,
        stop: CancellationToken,
    ) -> Result<Serving, ErrorCode> {
        let authority = self.authority(identity)?;
        let settings = EdgeSettings {
            kernel: Arc::clone(&self.kernel),
            servers: self.fleet.open(),
            subject: authority.subject(),
            authority,
            identity: Arc::clone(identity),
            session_id: Some(session_id.to_owned()),
            surface: self.surface,
            mode: Mode::Hosted { counter_offer: self.counter_offer },
            requests_in_flight: self.requests_in_flight,
        };
        Ok(Box::pin(async move {
            Edge::serve(settings, channel, stop).await;
        }))
    }

    fn is_same_caller(&self, opened_by: &Identity, now: &Identity) -> bool {
        opened_by.is_same_caller(now) && self.policy.rule_for(opened_by) == self.policy.rule_for(now)
    }

    fn servers(&self) -> Vec<ServerStatus> {
        self.fleet.status()
    }
}
