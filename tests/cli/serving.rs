//! `chio serve`, from the outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::program::Program;
use crate::receipts::terminate;

/// A serving process that is ended with the test.
struct Served {
    child: Child,
    ready: Value,
}

impl Served {
    fn start(program: &Program, options: &[&str]) -> Served {
        let arguments = ["serve", "--listen", "tcp://127.0.0.1:0", "--json"].iter().chain(options);
        let mut child =
            program.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| {
            let mut told = String::new();
            child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            panic!("{error}: {told}")
        });
        Served { child, ready }
    }

    fn connect(&self) -> TcpStream {
        let address = self.ready["listening"].as_str().unwrap().strip_prefix("tcp://").unwrap();
        TcpStream::connect(address).unwrap()
    }

    fn end(mut self) -> Option<i32> {
        terminate(self.child.id());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn send(stream: &mut TcpStream, message: &Value) {
    // The keys of `serde_json` maps are sorted, and nothing here has numbers or escapes that differ.
    let text = message.to_string();
    stream.write_all(&u32::try_from(text.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
}

fn receive(stream: &mut TcpStream) -> Value {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut text = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn call(tool: &str, params: &Value, token: &Value) -> Value {
    json!({
        "type": "tool_call_request", "id": format!("call-{tool}"), "capability_token": token, "server_id": "demo",
        "tool": tool, "params": params,
    })
}

#[test]
fn the_demo_server_answers_streams_and_denies() {
    let program = Program::new();
    let (_, holder) = program.holder();
    let issue = ["capability", "issue", "--subject", &holder, "--server", "demo", "--tool", "*", "--json"];
    let token = program.run(issue).expect(0).json();
    let served = Served::start(&program, &["--demo"]);
    let mut stream = served.connect();
    send(&mut stream, &call("add", &json!({"a": 2, "b": 3}), &token));
    let answer = receive(&mut stream);
    assert_eq!(answer["result"], json!({"status": "ok", "value": {"sum": 5}}));
    assert_eq!(answer["receipt"]["kernel_key"], served.ready["kernel_key"]);

    send(&mut stream, &call("count", &json!({"to": 3}), &token));
    for index in 0..3 {
        assert_eq!(receive(&mut stream)["chunk_index"], index);
    }
    assert_eq!(receive(&mut stream)["result"], json!({"status": "stream_complete", "total_chunks": 3}));

    send(&mut stream, &call("echo", &json!({"path": "/srv/.env"}), &token));
    assert_eq!(receive(&mut stream)["result"]["error"]["code"], "policy_denied");
    send(&mut stream, &call("fail", &json!({}), &token));
    assert_eq!(receive(&mut stream)["result"]["error"]["code"], "tool_server_error");

    // Another process revokes; who holds the token is told.
    program.run(["capability", "revoke", token["id"].as_str().unwrap()]).expect(0);
    assert_eq!(receive(&mut stream), json!({"type": "capability_revoked", "id": token["id"]}));
    send(&mut stream, &call("echo", &json!({}), &token));
    assert_eq!(receive(&mut stream)["result"]["error"]["code"], "capability_revoked");

    assert_eq!(served.end(), Some(0));
    let receipts = program.run(["receipt", "list", "--json"]).expect(0);
    assert_eq!(receipts.json().as_array().unwrap().len(), 5);
    program.feed(["receipt", "verify", "-"], &receipts.out).expect(0);
    program.run(["log", "fsck"]).expect(0);
}

#[test]
fn a_malformed_frame_closes_its_connection_and_nothing_else() {
    let program = Program::new();
    let served = Served::start(&program, &["--demo"]);
    let mut honest = served.connect();
    let heartbeat = json!({"type": "heartbeat"});
    for bytes in [&b"\0\0\0\x02{]"[..], b"\xff\xff\xff\xff", b"\0\0\0\x02{}", b"\0\0\0\x09[1]"] {
        let mut stream = served.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // Closed or reset, but never answered.
        drop(stream.read_to_end(&mut rest));
        assert!(rest.is_empty(), "{bytes:?}");
        send(&mut honest, &heartbeat);
        assert_eq!(receive(&mut honest), heartbeat);
    }
    assert_eq!(served.end(), Some(0));
}

#[test]
fn a_further_issuer_is_trusted_only_by_name() {
    let program = Program::new();
    let elsewhere = Program::new();
    let (_, holder) = elsewhere.holder();
    let issue = ["capability", "issue", "--subject", &holder, "--server", "demo", "--tool", "echo", "--json"];
    let token = elsewhere.run(issue).expect(0).json();
    let echo = call("echo", &json!({"a": 1}), &token);

    let served = Served::start(&program, &["--demo"]);
    let mut stream = served.connect();
    send(&mut stream, &echo);
    assert_eq!(receive(&mut stream)["result"]["error"]["code"], "capability_denied");
    served.end();
    let served = Served::start(&program, &["--demo", "--trust-issuer", token["issuer"].as_str().unwrap()]);
    let mut stream = served.connect();
    send(&mut stream, &echo);
    assert_eq!(receive(&mut stream)["result"]["status"], "ok");
}

#[test]
fn one_connection_over_standard_input_and_output() {
    let program = Program::new();
    let mut command = program.command(["serve", "--listen", "stdio:", "--demo"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let frame = b"\0\0\0\x14{\"type\":\"heartbeat\"}";
    child.stdin.take().unwrap().write_all(frame).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, frame);
    assert_eq!(output.status.code(), Some(0));
}
