//! A running kernel: how every command that serves starts it, and how it ends.
//!
//! It serves only after it has proven that it refuses (the self-test), and after the calls that an earlier kernel left
//! open are on record. It ends with a checkpoint over everything it has decided.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use chio_core::keys::{PublicKey, SigningKey};
use chio_kernel::{Kernel, KernelSettings, LocalAuthority, StreamLimits, SystemClock, self_test};
use chio_mcp::edge::{EdgeSettings, Mode};
use chio_mcp::servers::{Fleet, FleetLimits, Launch, Owner, ServerSettings};
use chio_policy::{EffectivePolicy, Identity};
use chio_spec::ServerId;
use chio_store::{MemoryStore, SqliteOptions, SqliteStore, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::failure::{Failure, OrFail};
use super::home::Home;
use super::keys::{self, Role};
use super::{signers, store};

/// A kernel that may serve.
pub(crate) struct Node {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) home: PathBuf,
    policy: Arc<EffectivePolicy>,
    authority: Arc<SigningKey>,
    key: PublicKey,
    shutdown: CancellationToken,
    checkpoints: JoinHandle<()>,
}

impl Node {
    /// Starts the kernel of a home folder, which is created with its keys when it is missing. `issuers` are trusted
    /// beside the local authority and those of `chio.yaml`.
    pub(crate) async fn start(
        home: &Home,
        policy: EffectivePolicy,
        issuers: &[PublicKey],
    ) -> Result<Node, Failure> {
        let path = home.ensure()?.to_owned();
        let key = Arc::new(keys::load_or_create(home, Role::Kernel)?);
        let authority = Arc::new(keys::load_or_create(home, Role::Authority)?);
        let trusted = signers::of_capabilities(home, issuers)?;
        self_test(Arc::clone(&key), Arc::new(MemoryStore::new())).await?;

        let folder = path.clone();
        let opening =
            tokio::task::spawn_blocking(move || SqliteStore::open(folder, &SqliteOptions::default()));
        let store: Arc<dyn Store> = Arc::new(opening.await?.map_err(store::explain)?);
        let policy = Arc::new(policy);
        let public = key.public();
        let settings = KernelSettings {
            signing_key: key,
            trusted_issuers: BTreeSet::from_iter(trusted),
            policy: Arc::clone(&policy),
            clock: Arc::new(SystemClock),
            stream_limits: StreamLimits::default(),
        };
        let kernel = Kernel::new(settings, store);
        let closed = kernel.recover().await.doing("recording the calls that an earlier kernel left open")?;
        if closed > 0 {
            tracing::warn!(
                closed,
                "calls of a kernel that ended before they did are on record as incomplete"
            );
        }

        let shutdown = CancellationToken::new();
        let checkpoints = {
            let (kernel, shutdown) = (Arc::clone(&kernel), shutdown.clone());
            tokio::spawn(async move { kernel.keep_checkpoints(shutdown).await })
        };
        Ok(Node { kernel, home: path, policy, authority, key: public, shutdown, checkpoints })
    }

    /// The key that receipts are signed with.
    pub(crate) fn key(&self) -> PublicKey {
        self.key
    }

    /// The key that capabilities are issued with.
    pub(crate) fn authority(&self) -> Arc<SigningKey> {
        Arc::clone(&self.authority)
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> &EffectivePolicy {
        &self.policy
    }

    /// Puts an MCP server behind the kernel, and the edge that a client without capabilities of its own talks to.
    pub(crate) fn edge(&self, id: ServerId, launch: Launch) -> Result<EdgeSettings, Failure> {
        let settings = ServerSettings { id, launch, owner: Owner::Session };
        let fleet = Fleet::new(&self.kernel, "mcp-stdio", vec![settings], FleetLimits::default());
        // The key of the session: nobody else can use what is issued to it, because its private half is dropped here.
        let subject = keys::generate()?.public().hex();
        let identity = Identity::local();
        let authority = LocalAuthority::new(
            Arc::clone(&self.authority),
            Arc::clone(&self.policy),
            subject,
            identity.clone(),
        );
        Ok(EdgeSettings {
            kernel: Arc::clone(&self.kernel),
            servers: fleet.open(),
            authority: Arc::new(authority),
            subject,
            identity: Arc::new(identity),
            session_id: None,
            surface: "mcp-stdio",
            mode: Mode::Relay,
            requests_in_flight: chio_mcp::session::Limits::default().in_work,
        })
    }

    /// Ends the kernel: a last checkpoint, and everything that was handed to the store is written.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        if let Err(error) = self.checkpoints.await {
            tracing::warn!(%error, "the last checkpoint was not made; the next start makes it");
        }
    }
}
