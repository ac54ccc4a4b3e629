//! Each of the six native error codes by its real cause, over TCP and over a Unix socket.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use chio_native::Client;
use chio_spec::{ToolCallError, ToolCallResponse};
use serde_json::{Value, json};

use crate::agent::{
    Agent, Token, call, cause, error, forge, id, is_ok, make, now, read_key, receipt, request, token,
};
use crate::home::Home;
use crate::processes::eventually;
use crate::server::{Server, workshop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_error_code_has_its_real_cause_over_tcp() {
    let home = Home::new();
    let server = Server::tcp(&home, &["--demo"]);
    each_code(&home, &server).await;
    assert!(server.end().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_error_code_has_its_real_cause_over_a_unix_socket() {
    let home = Home::new();
    let server = Server::unix(&home, &["--demo"]);
    each_code(&home, &server).await;
    assert!(server.end().success());
}

/// Five of the six codes, each by every cause that an agent can meet, and every receipt in the log.
async fn each_code(home: &Home, server: &Server) {
    let agent = Agent::new(home, "agent");
    let client = server.client().await;
    let every_tool = agent.issue(home, &["--server", "demo", "--tool", "*"]);
    let mut responses = Vec::new();

    let allowed = call(&client, &every_tool, "add", &json!({"a": 2, "b": 40})).await;
    assert!(is_ok(&allowed), "{allowed:?}");
    responses.push(allowed);

    responses.extend(capability_denied(home, server, &agent, &client, &every_tool).await);
    responses.extend(capability_expired(home, &agent, &client).await);
    responses.extend(capability_revoked(home, &agent, &client).await);
    responses.extend(policy_denied(home, &agent, &client, &every_tool).await);

    let failed =
        call(&client, &every_tool, "fail", &json!({"message": "the disk of the tool is full"})).await;
    let ToolCallError::ToolServerError(text) = error(&failed) else { panic!("{failed:?}") };
    assert!(text.contains("the disk of the tool is full"), "{text}");
    responses.push(failed);

    // Whatever was answered is in the log word for word, once, and nothing else is.
    let logged = home.receipt_texts();
    let answered: Vec<&str> = responses.iter().map(|response| response.receipt.text()).collect();
    assert_eq!(logged.iter().map(String::as_str).collect::<HashSet<_>>(), answered.iter().copied().collect());
    assert_eq!(logged.len(), answered.len());
    assert_eq!(home.fsck(), u64::try_from(answered.len()).unwrap());
}

async fn capability_denied(
    home: &Home,
    server: &Server,
    agent: &Agent,
    client: &Client,
    every_tool: &Token,
) -> Vec<ToolCallResponse> {
    let echo_only = agent.issue(home, &["--server", "demo", "--tool", "echo"]);
    let out_of_scope = call(client, &echo_only, "add", &json!({"a": 1, "b": 1})).await;
    assert_eq!(cause(&out_of_scope), "scope_exceeded");

    let other_server = agent.issue(home, &["--server", "elsewhere", "--tool", "*"]);
    let wrong_server = call(client, &other_server, "echo", &json!({})).await;
    assert_eq!(cause(&wrong_server), "scope_exceeded");

    // One character of the signed text is another: nobody signed this.
    let tampered = token(every_tool.text().replacen("\"invoke\"", "\"delegate\"", 1));
    let bad_signature = call(client, &tampered, "echo", &json!({})).await;
    assert_eq!(cause(&bad_signature), "capability_signature_invalid");

    let stranger = Agent::new(home, "stranger");
    let mut claims: Value = serde_json::from_str(every_tool.text()).unwrap();
    claims["id"] = "cap-by-a-stranger".into();
    claims["issuer"] = stranger.public.clone().into();
    let untrusted = call(client, &forge(&stranger.key(), claims), "echo", &json!({})).await;
    assert_eq!(cause(&untrusted), "capability_issuer_untrusted");

    // The connection belongs to the agent whose token verified first.
    let of_another = stranger.issue(home, &["--server", "demo", "--tool", "*"]);
    let wrong_subject = call(client, &of_another, "echo", &json!({})).await;
    assert_eq!(cause(&wrong_subject), "subject_mismatch");
    let on_its_own = call(&server.client().await, &of_another, "echo", &json!({})).await;
    assert!(is_ok(&on_its_own), "{on_its_own:?}");

    let unknown_tool = call(client, every_tool, "no-such-tool", &json!({})).await;
    assert_eq!(cause(&unknown_tool), "tool_not_registered");

    let with_proof = agent.issue(home, &["--server", "demo", "--tool", "echo", "--dpop"]);
    let no_proof = call(client, &with_proof, "echo", &json!({})).await;
    assert_eq!(cause(&no_proof), "dpop_required");

    let bounded = agent.issue(home, &["--server", "demo", "--tool", "echo", "--constraint", "max_length=3"]);
    let constraint = call(client, &bounded, "echo", &json!({"text": "four"})).await;

    let denied = vec![
        out_of_scope,
        wrong_server,
        bad_signature,
        untrusted,
        wrong_subject,
        unknown_tool,
        no_proof,
        constraint,
    ];
    for response in &denied {
        assert!(matches!(error(response), ToolCallError::CapabilityDenied(_)), "{response:?}");
    }
    denied.into_iter().chain([on_its_own]).collect()
}

async fn capability_expired(home: &Home, agent: &Agent, client: &Client) -> Vec<ToolCallResponse> {
    let short = agent.issue(home, &["--server", "demo", "--tool", "echo", "--ttl", "2"]);
    while now() < short.view().unwrap().expires_at {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let expired = call(client, &short, "echo", &json!({})).await;
    assert_eq!(cause(&expired), "capability_expired");

    let mut claims: Value = serde_json::from_str(short.text()).unwrap();
    claims["id"] = "cap-of-tomorrow".into();
    claims["issued_at"] = (now() + 3600).into();
    claims["expires_at"] = (now() + 7200).into();
    let authority = read_key(&home.path().join("keys/authority.key"));
    let early = call(client, &forge(&authority, claims), "echo", &json!({})).await;
    assert_eq!(cause(&early), "capability_not_yet_valid");

    for response in [&expired, &early] {
        assert_eq!(error(response), &ToolCallError::CapabilityExpired);
    }
    vec![expired, early]
}

async fn capability_revoked(home: &Home, agent: &Agent, client: &Client) -> Vec<ToolCallResponse> {
    let token = agent.issue(home, &["--server", "demo", "--tool", "echo"]);
    let before = call(client, &token, "echo", &json!({})).await;
    assert!(is_ok(&before), "{before:?}");

    // Another process revokes; the holder that is connected here is told without asking.
    let mut notices = client.revocations();
    home.ok(&["capability", "revoke", &id(&token)]);
    let notice = tokio::time::timeout(Duration::from_secs(20), notices.recv()).await.unwrap().unwrap();
    assert_eq!(notice.to_string(), id(&token));

    let after = call(client, &token, "echo", &json!({})).await;
    assert_eq!(error(&after), &ToolCallError::CapabilityRevoked);
    vec![before, after]
}

async fn policy_denied(
    home: &Home,
    agent: &Agent,
    client: &Client,
    every_tool: &Token,
) -> Vec<ToolCallResponse> {
    let guard = |response: &ToolCallResponse| match error(response) {
        ToolCallError::PolicyDenied(denial) => denial.guard.clone(),
        other => panic!("{other:?}"),
    };
    let forbidden = call(client, every_tool, "echo", &json!({"anything": "/srv/project/.env"})).await;
    assert_eq!(guard(&forbidden), "forbidden-path");
    assert_eq!(receipt(&forbidden)["decision"]["guard"], "forbidden-path");

    let two = agent.issue(home, &["--server", "demo", "--tool", "echo", "--max-invocations", "2"]);
    let mut responses = Vec::new();
    for _ in 0..3 {
        responses.push(call(client, &two, "echo", &json!({})).await);
    }
    assert!(is_ok(&responses[0]) && is_ok(&responses[1]), "{responses:?}");
    assert_eq!(guard(&responses[2]), "budget");

    home.ok(&["stop"]);
    let stopped = call(client, every_tool, "echo", &json!({})).await;
    assert_eq!(cause(&stopped), "emergency_stop");
    guard(&stopped);
    home.ok(&["resume"]);

    home.ok(&["stop", "--agent", &agent.public]);
    let agent_stopped = call(client, every_tool, "echo", &json!({})).await;
    assert_eq!(cause(&agent_stopped), "emergency_stop");
    home.ok(&["resume", "--agent", &agent.public]);
    responses.extend([forbidden, stopped, agent_stopped]);
    // A stop is seen by the next call; that it is lifted, a moment later.
    for _ in 0..50 {
        let resumed = call(client, every_tool, "echo", &json!({})).await;
        let is_over = is_ok(&resumed);
        responses.push(resumed);
        if is_over {
            return responses;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the stop was lifted, and nothing came of it: {:?}", responses.last());
}

/// The sixth code. The system refuses every write to the store, as a full or read-only disk does; permissions would not
/// stop a test that runs as root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_written_is_an_internal_error_and_the_tool_does_not_run() {
    let home = Home::new();
    let folder = home.side("workshop");
    let mut arguments = vec!["--server-id".to_owned(), "shop".to_owned(), "--".to_owned()];
    arguments.extend(workshop(&folder));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut server = Server::tcp(&home, &arguments);
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "shop", "--tool", "count"]);
    let client = server.client().await;
    let count = async |n: u64| make(&client, request(&token, "shop", "count", &json!({"n": n}))).await;
    let counted = || std::fs::read_to_string(folder.join("counted")).unwrap();

    let before = count(1).await;
    assert!(is_ok(&before), "{before:?}");

    server.limit_files(Some(0));
    for n in 2..5 {
        let refused = count(n).await;
        assert!(matches!(error(&refused), ToolCallError::InternalError(_)), "{refused:?}");
        // The answer carries a receipt all the same, and the receipt says where it is not.
        let receipt = receipt(&refused);
        assert!(receipt["evidence"].to_string().contains("not in the log"), "{receipt}");
        let file = home.side("unlogged.json");
        std::fs::write(&file, refused.receipt.text()).unwrap();
        assert_eq!(home.code(&["receipt", "verify", file.to_str().unwrap()]), 0);
        assert_ne!(home.code(&["receipt", "show", receipt["id"].as_str().unwrap()]), 0);
    }
    assert_eq!(counted(), "1\n", "the tool ran although its call could not be recorded");

    // The disk has room again: the server goes on by itself.
    server.limit_files(None);
    let after = count(5).await;
    assert!(is_ok(&after), "{after:?}");
    assert_eq!(counted(), "1\n5\n");
    assert!(server.is_running());
    assert!(server.end().success());

    let logged = home.receipt_texts();
    assert_eq!(logged, [before.receipt.text(), after.receipt.text()]);
    assert_eq!(home.fsck(), 2);
}

/// The store fails while the tool runs: what it answered is withheld, and the call is put on record once that is possible.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_whose_receipt_cannot_be_written_is_withheld_and_recorded_later() {
    let home = Home::new();
    let folder = home.side("workshop");
    let mut arguments = vec!["--server-id".to_owned(), "shop".to_owned(), "--".to_owned()];
    arguments.extend(workshop(&folder));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::tcp(&home, &arguments);
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "shop", "--tool", "linger"]);
    let client = server.client().await;
    let call = make(&client, request(&token, "shop", "linger", &json!({"seconds": 2})));
    let failing = async {
        while !folder.join("lingering").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.limit_files(Some(0));
    };
    let (response, ()) = tokio::join!(call, failing);
    assert!(matches!(error(&response), ToolCallError::InternalError(_)), "{response:?}");
    let answered = receipt(&response);
    assert_eq!(answered["decision"]["verdict"], "incomplete");
    assert!(answered["evidence"].to_string().contains("not in the log"), "{answered}");

    server.limit_files(None);
    eventually("the call is on record", Duration::from_secs(40), || home.receipts().len() == 1);
    let logged = home.receipts().remove(0);
    assert_ne!(logged["id"], answered["id"]);
    assert_eq!(logged["action"], answered["action"]);
    assert_eq!(logged["decision"]["verdict"], "allow");
    assert!(server.end().success());
    assert_eq!(home.fsck(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_frame_closes_its_connection_and_no_other() {
    let home = Home::new();
    let mut server = Server::tcp(&home, &["--demo"]);
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "demo", "--tool", "echo"]);
    let witness = server.client().await;
    assert!(is_ok(&call(&witness, &token, "echo", &json!({})).await));

    let framed = |payload: &[u8]| [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat();
    let malformed: Vec<(&str, Vec<u8>)> = vec![
        ("no JSON", framed(b"this is no JSON")),
        ("not canonical", framed(b"{ \"type\": \"heartbeat\" }")),
        ("unknown message", framed(b"{\"type\":\"unheard_of\"}")),
        ("unknown member", framed(b"{\"more\":1,\"type\":\"heartbeat\"}")),
        ("message of the kernel", framed(b"{\"id\":\"cap-1\",\"type\":\"capability_revoked\"}")),
        ("not UTF-8", framed(b"{\"type\":\"\xff\"}")),
        ("too large", vec![0xff, 0xff, 0xff, 0xff]),
        ("empty", framed(b"")),
        ("an HTTP request", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in malformed {
        let mut peer = TcpStream::connect(server.host()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        // A reset is a closed connection too: bytes of ours may have been left unread.
        if let Err(error) = peer.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{what}: {error}");
        }
        assert!(answer.is_empty(), "{what} was answered: {answer:?}");
        witness.heartbeat().await.unwrap();
    }
    assert!(is_ok(&call(&witness, &token, "echo", &json!({})).await));
    assert!(server.is_running());
    assert_eq!(home.fsck(), 2, "malformed frames leave no receipts");
}
