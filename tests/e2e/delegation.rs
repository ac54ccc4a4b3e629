//! Capabilities passed on offline, and receipts of another home.

use chio_native::Client;
use chio_spec::{ToolCallError, ToolCallResponse};
use serde_json::{Value, json};

use crate::agent::{Agent, Token, cause, error, forge, id, is_ok, make, request, sign};
use crate::home::Home;
use crate::server::Server;

/// A root, a child and a grandchild, each made by the program without asking the kernel.
struct Family {
    home: Home,
    child_holder: Agent,
    grandchild_holder: Agent,
    root: Token,
    child: Token,
    grandchild: Token,
}

impl Family {
    fn new() -> Self {
        let home = Home::new();
        let [first, second, third] = ["first", "second", "third"].map(|name| Agent::new(&home, name));
        let prefix = "path_prefix=/srv";
        let grants = [
            "--server",
            "demo",
            "--tool",
            "*",
            "--delegate",
            "--constraint",
            prefix,
            "--max-invocations",
            "50",
        ];
        let root = first.issue(&home, &grants);
        let child = first.attenuate(
            &home,
            &root,
            &second,
            &["--tool", "echo", "--delegate", "--ttl", "1800", "--max-invocations", "20"],
        );
        let narrower = "path_prefix=/srv/docs";
        let grandchild = second.attenuate(
            &home,
            &child,
            &third,
            &["--ttl", "900", "--max-invocations", "3", "--add-constraint", narrower],
        );
        Self { home, child_holder: second, grandchild_holder: third, root, child, grandchild }
    }

    /// One call of the third agent, with the parents beside it.
    async fn call(&self, client: &Client, token: &Token, path: &str) -> ToolCallResponse {
        let request = request(token, "demo", "echo", &json!({"path": path}))
            .with_ancestors(vec![self.root.clone(), self.child.clone()]);
        make(client, request).await
    }

    /// The grandchild with other claims, properly signed by the agent that delegates it. The link declares nothing, so
    /// that only the claims themselves can be what is wrong.
    fn changed(&self, name: &str, change: impl FnOnce(&mut Value)) -> Token {
        let key = self.child_holder.key();
        let mut claims: Value = serde_json::from_str(self.grandchild.text()).unwrap();
        claims["id"] = format!("cap-{name}").into();
        let mut link = claims["delegation_chain"][1].take();
        link.as_object_mut().unwrap().remove("attenuations");
        claims["delegation_chain"][1] = sign(&key, link);
        change(&mut claims);
        forge(&key, claims)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_attenuated_twice_offline_works_within_its_bounds_only() {
    let family = Family::new();
    let server = Server::tcp(&family.home, &["--demo"]);
    let client = server.client().await;

    let within = family.call(&client, &family.grandchild, "/srv/docs/notes.md").await;
    assert!(is_ok(&within), "{within:?}");
    let outside = family.call(&client, &family.grandchild, "/srv/other.md").await;
    assert!(matches!(error(&outside), ToolCallError::CapabilityDenied(_)), "{outside:?}");
    // The parents are known now, so the token alone will do.
    let params = json!({"path": "/srv/docs/notes.md"});
    let alone = make(&client, request(&family.grandchild, "demo", "echo", &params)).await;
    assert!(is_ok(&alone), "{alone:?}");
    let third = family.call(&client, &family.grandchild, "/srv/docs/notes.md").await;
    assert!(is_ok(&third), "{third:?}");
    let over_budget = family.call(&client, &family.grandchild, "/srv/docs/notes.md").await;
    assert_eq!(cause(&over_budget), "budget_exhausted");

    let other_tool = request(&family.grandchild, "demo", "add", &json!({"a": 1, "b": 1}));
    assert_eq!(cause(&make(&client, other_tool).await), "scope_exceeded");
    assert_eq!(family.home.fsck(), 6);
    family.home.verify_each();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_widens_its_parent_is_denied_on_the_wire() {
    let family = Family::new();
    let server = Server::tcp(&family.home, &["--demo"]);
    let client = server.client().await;

    // Signed the same way and not wider: so it is the widening that is refused below.
    let control = family.changed("control", |_| {});
    let allowed = family.call(&client, &control, "/srv/docs/notes.md").await;
    assert!(is_ok(&allowed), "{allowed:?}");

    let parent_expires = family.child.view().unwrap().expires_at;
    let grant = "/scope/grants/0";
    let set = |path: String, value: Value| {
        move |claims: &mut Value| {
            let (object, member) = path.rsplit_once('/').unwrap();
            claims.pointer_mut(object).unwrap()[member] = value;
        }
    };
    let without = |path: String| {
        move |claims: &mut Value| {
            let (object, member) = path.rsplit_once('/').unwrap();
            claims.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(member).unwrap();
        }
    };
    let widened = [
        family.changed("other-tool", set(format!("{grant}/tool_name"), "add".into())),
        family.changed("every-tool", set(format!("{grant}/tool_name"), "*".into())),
        family.changed("every-server", set(format!("{grant}/server_id"), "*".into())),
        family.changed("operation", set(format!("{grant}/operations"), json!(["invoke", "read_result"]))),
        family.changed("expiry", set("/expires_at".to_owned(), (parent_expires + 1).into())),
        family.changed("budget", set(format!("{grant}/max_invocations"), 21.into())),
        family.changed("no-budget", without(format!("{grant}/max_invocations"))),
        family.changed("no-constraint", without(format!("{grant}/constraints"))),
        family.changed(
            "other-constraint",
            set(format!("{grant}/constraints"), json!([{"type": "path_prefix", "value": "/"}])),
        ),
        family.changed("second-grant", |claims| {
            let mut grant = claims["scope"]["grants"][0].clone();
            grant["tool_name"] = "add".into();
            claims["scope"]["grants"].as_array_mut().unwrap().push(grant);
        }),
        family.changed("earlier", |claims| claims["issued_at"] = 1.into()),
        family
            .changed("other-holder", |claims| claims["subject"] = family.child_holder.public.clone().into()),
        family.changed("shorter-chain", |claims| {
            claims["delegation_chain"].as_array_mut().unwrap().remove(0);
        }),
    ];
    for token in widened {
        let name = id(&token);
        let client = server.client().await;
        let denied = family.call(&client, &token, "/srv/docs/notes.md").await;
        assert!(matches!(error(&denied), ToolCallError::CapabilityDenied(_)), "{name}: {denied:?}");
        assert_ne!(cause(&denied), "capability_signature_invalid", "{name} was not signed properly");
    }

    // Signed by who is not its delegator.
    let mut claims: Value = serde_json::from_str(control.text()).unwrap();
    claims["id"] = "cap-own-signature".into();
    let own = forge(&family.grandchild_holder.key(), claims);
    let denied = family.call(&server.client().await, &own, "/srv/docs/notes.md").await;
    assert!(matches!(error(&denied), ToolCallError::CapabilityDenied(_)), "{denied:?}");
    assert_eq!(family.home.fsck(), 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_ancestor_ends_the_grandchild() {
    let family = Family::new();
    let server = Server::tcp(&family.home, &["--demo"]);
    let client = server.client().await;
    assert!(is_ok(&family.call(&client, &family.grandchild, "/srv/docs/a").await));

    family.home.ok(&["capability", "revoke", &id(&family.root)]);
    let denied = family.call(&client, &family.grandchild, "/srv/docs/a").await;
    assert_eq!(error(&denied), &ToolCallError::CapabilityRevoked);
    assert_eq!(cause(&denied), "delegation_ancestor_revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grandchild_without_its_parents_is_denied() {
    let family = Family::new();
    let server = Server::tcp(&family.home, &["--demo"]);
    let request = request(&family.grandchild, "demo", "echo", &json!({"path": "/srv/docs/a"}));
    let denied = make(&server.client().await, request).await;
    assert!(matches!(error(&denied), ToolCallError::CapabilityDenied(_)), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_worth_what_its_signer_is() {
    let family = Family::new();
    let server = Server::tcp(&family.home, &["--demo"]);
    let response = family.call(&server.client().await, &family.grandchild, "/srv/docs/notes.md").await;
    let receipt: Value = serde_json::from_str(response.receipt.text()).unwrap();
    let kernel_key = receipt["kernel_key"].as_str().unwrap();

    let elsewhere = Home::new();
    elsewhere.ok(&["init"]);
    let file = family.home.side("receipt.json");
    std::fs::write(&file, response.receipt.text()).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(family.home.code(&["receipt", "verify", file]), 0);
    assert_eq!(family.home.code(&["receipt", "verify", receipt["id"].as_str().unwrap()]), 0);
    assert_eq!(elsewhere.code(&["receipt", "verify", file]), 3);
    assert_eq!(elsewhere.code(&["receipt", "verify", file, "--key", kernel_key]), 0);

    let tampered = family.home.side("tampered.json");
    std::fs::write(&tampered, response.receipt.text().replace("/srv/docs/notes.md", "/srv/docs/other.md"))
        .unwrap();
    let tampered = tampered.to_str().unwrap();
    assert_eq!(family.home.code(&["receipt", "verify", tampered]), 2);
    assert_eq!(elsewhere.code(&["receipt", "verify", tampered]), 2);
    assert_eq!(elsewhere.code(&["receipt", "verify", tampered, "--key", kernel_key]), 2);
}
