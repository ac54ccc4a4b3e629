//! The native transport beyond single answers: chunks, and a connection over standard input and output.

use std::io::{Read, Write};
use std::process::Stdio;

use chio_spec::ToolCallResult;
use serde_json::{Value, json};

use crate::agent::{Agent, receipt, request};
use crate::home::Home;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_arrives_in_order_and_its_receipt_covers_every_chunk() {
    let home = Home::new();
    let server = Server::unix(&home, &["--demo"]);
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "demo", "--tool", "count"]);
    let client = server.client().await;
    let mut stream = client.start(request(&token, "demo", "count", &json!({"to": 20}))).await.unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next_chunk().await.unwrap() {
        chunks.push(chunk.data.to_value().unwrap());
    }
    assert_eq!(chunks, (1..=20).map(|number| json!({"number": number})).collect::<Vec<Value>>());
    let response = stream.response().await.unwrap();
    let ToolCallResult::StreamComplete(complete) = &response.result else { panic!("{response:?}") };
    assert_eq!(complete.total_chunks, 20);
    let metadata = &receipt(&response)["metadata"]["stream"];
    assert_eq!(metadata["chunks_received"], 20);
    assert_eq!(metadata["chunk_hashes"].as_array().unwrap().len(), 20);
    home.verify_each();
}

#[test]
fn a_connection_over_standard_input_and_output_ends_with_its_input() {
    let home = Home::new();
    let mut command = home.command(&["serve", "--listen", "stdio:", "--demo"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let heartbeat = br#"{"type":"heartbeat"}"#;
    let length = u32::try_from(heartbeat.len()).unwrap().to_be_bytes();
    stdin.write_all(&[&length, heartbeat.as_slice()].concat()).unwrap();
    stdin.flush().unwrap();
    let mut answer = [0; 24];
    stdout.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [&length, heartbeat.as_slice()].concat().as_slice());

    drop(stdin);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    assert!(child.wait().unwrap().success());
}
