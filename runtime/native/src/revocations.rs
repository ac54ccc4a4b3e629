//! Telling connected holders that a capability has ended.

use std::sync::Arc;

use chio_kernel::{CallerSession, Kernel};
use chio_spec::{CapabilityId, CapabilityRevoked, KernelMessage};
use chio_store::Revocation;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::outbox::Outbox;

/// Pushes `capability_revoked` for every token of `caller` that a revocation ends, its own or that of an ancestor.
/// Ends with the connection. `revocations` is subscribed to before anything can verify on the connection, so that no
/// revocation falls between.
pub(crate) async fn push(
    mut revocations: Receiver<Revocation>,
    kernel: Arc<Kernel>,
    caller: Arc<CallerSession>,
    outbox: Outbox,
) {
    loop {
        let ended = match revocations.recv().await {
            Ok(revocation) => {
                CapabilityId::new(revocation.capability_id).map(|id| caller.revoke(&id)).unwrap_or_default()
            }
            // A peer that reads slowly made us miss some: ask about everything it holds.
            Err(RecvError::Lagged(_)) => forget_revoked(&kernel, &caller),
            Err(RecvError::Closed) => return,
        };
        for id in ended {
            let notice = KernelMessage::CapabilityRevoked(CapabilityRevoked::new(id));
            if outbox.send(&notice).await.is_err() {
                return;
            }
        }
    }
}

/// Looks up every token that `caller` holds, forgets those that have been revoked, and returns their ids.
pub(crate) fn forget_revoked(kernel: &Kernel, caller: &CallerSession) -> Vec<CapabilityId> {
    let mut ended = Vec::new();
    for token in caller.capabilities(kernel.now()) {
        let Ok(token) = token.view() else { continue };
        let parents = token.delegation_chain.iter().map(|link| &link.capability_id);
        let ids: Vec<&str> = parents.chain([&token.id]).map(CapabilityId::as_str).collect();
        if kernel.store().first_revoked(&ids).is_some() {
            ended.extend(caller.revoke(&token.id));
        }
    }
    ended
}
