//! Stock clients through one life with the edge: each lists, calls, is denied, resumes a broken stream where it can,
//! loses its session and recovers. The drivers are ours and small; everything that speaks is theirs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::edge::{Edge, policy_without, root};
use crate::home::{Home, finish};
use crate::peers;
use crate::schema::Judge;
use crate::suite::{self, GOVERNED};
use crate::tee::{ADMIN, Tee};

/// Longest that one life may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Ways to lose a session: paths of the relay that stands before the edge.
const LOSSES: [&str; 2] = ["/test/delete", "/test/shutdown"];

/// The tool that the policy denies in these tests.
const DENIED: &str = "count";

/// A token for the edge, of the least length that it accepts, and more.
pub const TOKEN: &str = "a-token-for-tests-only-0123456789";

pub fn python_1() -> Option<PathBuf> {
    peers::python_with("mcp-1", &["mcp==1.30.0", "chio-sdk==0.1.0"])
}

fn python_2() -> Option<PathBuf> {
    peers::python_with("mcp-2", &["mcp==2.3.0"])
}

fn npm() -> Option<PathBuf> {
    let packages = [
        "@modelcontextprotocol/sdk@1.32.2",
        "@modelcontextprotocol/client@2.4.0",
        "@modelcontextprotocol/inspector@2.12.0",
    ];
    peers::npm_with("clients", &packages)
}

/// A file of the `clients` folder.
pub fn driver(name: &str) -> PathBuf {
    root().join("tests/mcp/clients").join(name)
}

/// An edge before the fixture, with a relay before it.
struct Scene {
    home: Home,
    edge: Edge,
    tee: Tee,
    token: Option<&'static str>,
}

impl Scene {
    /// Silent streams are closed early, so that there is something to resume.
    fn new(token: Option<&'static str>, close_silent_after_ms: u64) -> Self {
        let home = Home::new();
        let policy = policy_without(&home, &[DENIED]);
        let mut config = json!({"mcp": {
            "admin_token": ADMIN,
            "streams": {"close_silent_after_ms": close_silent_after_ms},
        }});
        if let Some(token) = token {
            config["mcp"]["auth"] = json!({"token": token});
        }
        let edge = Edge::of_fixture(&home, config, &policy, None);
        let tee = Tee::before(&edge.address);
        Self { home, edge, tee, token }
    }

    fn plan(&self, loss: &str) -> Value {
        json!({
            "url": self.tee.url(),
            "token": self.token,
            "denied": DENIED,
            "lose": format!("http://{}{loss}", self.tee.address),
        })
    }

    /// Runs a driver and gives its report.
    fn drive(&self, program: &Path, arguments: &[&Path], plan: &Value) -> Value {
        let mut command = Command::new(program);
        // The drivers share a module, which is not to be compiled into the repository.
        command.args(arguments).arg(plan.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        let ran = finish(command, PATIENCE);
        assert!(ran.status.success(), "{}\n{}\nedge: {}", ran.stdout, ran.stderr, self.edge.stderr());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    }

    /// The messages are valid, and there is one receipt for each governed request that was answered.
    fn prove(self, judge: &Judge) {
        judge.approve(&self.tee);
        self.edge.end();
        let receipts = self.home.receipts();
        assert_eq!(receipts.len(), self.tee.answered(GOVERNED));
        assert_eq!(self.home.fsck(), receipts.len() as u64);
        self.home.verify_each();
    }
}

/// What every life must have seen.
fn lived(report: &Value, resumes: bool) {
    assert_eq!(report["protocol"], "2025-11-25", "{report}");
    let protocol = &report["experimental"]["chioProtocol"];
    assert_eq!(protocol["selectedProtocolVersion"], "2025-11-25", "{report}");
    let tools = report["tools"].as_array().unwrap();
    assert!(tools.contains(&json!("echo")) && !tools.contains(&json!(DENIED)), "{report}");

    assert_eq!(report["echo"]["text"], "hello");
    assert_eq!(report["echo"]["meta"]["chio.dev/decision"], "allow", "{report}");
    let denied = &report["denied"];
    assert_eq!(denied["isError"], true, "{report}");
    assert_eq!(denied["meta"]["chio.dev/decision"], "deny", "{report}");
    let receipt = denied["meta"]["chio.dev/receiptId"].as_str().unwrap();
    assert!(
        denied["text"].as_str().unwrap().contains(receipt),
        "the model is not told the receipt: {denied}"
    );

    if resumes {
        let text = report["resumed"]["text"].as_str().unwrap_or_else(|| panic!("not resumed: {report}"));
        assert!(text.contains("after the stream was closed"), "{report}");
    }
    assert!(report["lost"].is_string(), "the client did not notice that its session was gone: {report}");
    assert_eq!(report["recovered"]["text"], "again", "{report}");
}

/// Whether a stream was in fact broken and resumed.
fn resumed(tee: &Tee) -> bool {
    tee.exchanges().iter().any(|exchange| exchange.request.get("last-event-id").is_some())
}

/// A life for every way to lose a session.
fn live(program: &Path, arguments: &[&Path], judge: &Judge) {
    for loss in LOSSES {
        let scene = Scene::new(None, 50);
        let report = scene.drive(program, arguments, &scene.plan(loss));
        lived(&report, true);
        assert!(resumed(&scene.tee), "no stream was resumed");
        scene.prove(judge);
    }
}

fn python(program: Option<PathBuf>, script: &str) {
    let (Some(python), Some(judge)) = (program, Judge::load()) else { return };
    live(&python, &[&driver(script)], &judge);
}

#[test]
fn the_python_client_of_the_handshake_era() {
    python(python_1(), "py1.py");
}

#[test]
fn the_python_client_that_discovers_first() {
    python(python_2(), "py2.py");
}

fn node(package: &str) {
    let (Some(npm), Some(suite), Some(judge)) = (npm(), suite::installed(), Judge::load()) else { return };
    live(&suite.node(), &[&driver("npm.mjs"), &npm, Path::new(package)], &judge);
}

#[test]
fn the_npm_sdk() {
    node("sdk");
}

#[test]
fn the_npm_client() {
    node("client");
}

#[test]
fn the_published_chio_sdk() {
    let (Some(python), Some(judge)) = (python_1(), Judge::load()) else { return };
    for loss in LOSSES {
        let scene = Scene::new(Some(TOKEN), 0);
        let report = scene.drive(&python, &[&driver("sdk.py")], &scene.plan(loss));
        lived(&report, false);
        assert_eq!(report["closed"], 204);
        scene.prove(&judge);
    }
}

#[test]
fn the_inspector() {
    let (Some(npm), Some(suite), Some(judge)) = (npm(), suite::installed(), Judge::load()) else { return };
    let scene = Scene::new(Some(TOKEN), 50);
    let header = format!("Authorization: Bearer {TOKEN}");
    let inspect = |arguments: &[&str], expected: i32| {
        let mut command = Command::new(npm.join("node_modules/.bin/mcp-inspector"));
        let path = std::env::var("PATH").unwrap();
        let node = suite.node().parent().unwrap().display().to_string();
        command.env("PATH", format!("{node}:{path}")).current_dir(&npm);
        command.args([
            "--cli",
            &scene.tee.url(),
            "--transport",
            "http",
            "--format",
            "json",
            "--header",
            &header,
        ]);
        let ran = finish(
            {
                command.args(arguments);
                command
            },
            PATIENCE,
        );
        assert_eq!(ran.status.code(), Some(expected), "{arguments:?}: {}\n{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    let initialized = inspect(&["--method", "initialize"], 0);
    assert!(initialized.contains("chioProtocol"), "{initialized}");
    let listed = inspect(&["--method", "tools/list"], 0);
    assert!(listed.contains("\"echo\"") && !listed.contains("\"count\""), "{listed}");
    let call = ["--method", "tools/call", "--tool-name"];
    let echoed = inspect(&[&call[..], &["echo", "--tool-arg", "message=hello"]].concat(), 0);
    assert!(echoed.contains("hello") && echoed.contains("chio.dev/receiptId"), "{echoed}");
    inspect(&[&call[..], &[DENIED]].concat(), 5);
    let slow = inspect(&[&call[..], &["test_reconnection"]].concat(), 0);
    assert!(slow.contains("after the stream was closed"), "{slow}");
    assert!(resumed(&scene.tee), "no stream was resumed");
    scene.prove(&judge);
}

/// Compiling the stock Rust client takes minutes. Outside CI it is done where `CHIO_TEST_RMCP` is set.
#[test]
fn the_rust_client_when_its_version_is_pinned() {
    let Some(judge) = Judge::load() else { return };
    if std::env::var_os("CI").is_none() && std::env::var_os("CHIO_TEST_RMCP").is_none() {
        eprintln!("SKIPPED: set CHIO_TEST_RMCP to compile the stock Rust client and run it");
        return;
    }
    let target = peers::root().join("rmcp");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--quiet", "--manifest-path"]).arg(driver("rmcp/Cargo.toml"));
    build.arg("--target-dir").arg(&target);
    let built = finish(build, Duration::from_secs(1200));
    assert!(built.status.success(), "{}", built.stderr);

    // It opens another session by itself when the one that it had is gone.
    live(&target.join("debug/rmcp-driver"), &[], &judge);
}
