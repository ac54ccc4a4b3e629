//! The stock Rust client, pinned to 2025-11-25, through one life with the edge; see ../life.py. When its session is gone
//! it opens another by itself.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientConfig, ProtocolVersion};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

fn config() -> ClientConfig {
    ClientConfig::default().with_protocol_version(ProtocolVersion::V_2025_11_25)
}

fn result(answer: &CallToolResult) -> Result<Value, Failure> {
    let answer = serde_json::to_value(answer)?;
    Ok(json!({
        "text": answer["content"][0]["text"],
        "isError": answer["isError"].as_bool().unwrap_or(false),
        "meta": answer.get("_meta").cloned().unwrap_or(json!({})),
    }))
}

fn call(name: &str, arguments: Value) -> CallToolRequestParams {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new(name.to_owned()).with_arguments(arguments)
}

fn get(url: &str) -> Result<(), Failure> {
    let (address, path) = url.trim_start_matches("http://").split_once('/').ok_or("no path")?;
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let plan: Value = serde_json::from_str(&std::env::args().nth(1).ok_or("no plan")?)?;
    let text = |name: &str| plan[name].as_str().unwrap_or_default().to_owned();
    let mut report = json!({});

    let client = config().serve(StreamableHttpClientTransport::from_uri(text("url"))).await?;
    let server = serde_json::to_value(client.peer_info())?;
    report["protocol"] = server["protocolVersion"].clone();
    report["experimental"] = server["capabilities"]["experimental"].clone();
    let tools = client.list_all_tools().await?;
    report["tools"] = tools.iter().map(|tool| tool.name.to_string()).collect::<Vec<_>>().into();
    report["echo"] = result(&client.call_tool(call("echo", json!({"message": "hello"}))).await?)?;
    report["denied"] = result(&client.call_tool(call(&text("denied"), json!({}))).await?)?;
    report["resumed"] = result(&client.call_tool(call("test_reconnection", json!({}))).await?)?;
    get(&text("lose"))?;
    report["lost"] = match client.call_tool(call("echo", json!({"message": "lost"}))).await {
        Ok(answer) => format!("opened another session: {}", result(&answer)?["text"]).into(),
        Err(error) => error.to_string().into(),
    };
    client.cancel().await?;

    let again = config().serve(StreamableHttpClientTransport::from_uri(text("url"))).await?;
    report["recovered"] = result(&again.call_tool(call("echo", json!({"message": "again"}))).await?)?;
    again.cancel().await?;
    println!("{report}");
    Ok(())
}
