//! HTTP/1.1 by hand: tests must be able to send what no library would.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// Longest that a client waits for the next byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// The head of a request or of a response.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its first line.
    pub start: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head, or finds the end.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = line(reader)? else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            match line(reader)? {
                Some(line) if line.is_empty() => return Ok(Some(Self { start, headers })),
                Some(line) => {
                    let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                    headers.push((name.to_owned(), value.trim().to_owned()));
                }
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    pub fn is(&self, content_type: &str) -> bool {
        self.get("content-type").is_some_and(|found| found.starts_with(content_type))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads a body piece by piece. `each` is given the bytes as they came and the part of them that is content.
pub fn read_body(
    reader: &mut impl BufRead,
    head: &Head,
    is_response: bool,
    mut each: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    if head.get("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let Some(size) = line(reader)? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            let hex = size.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(hex, 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk)?;
            let mut raw = format!("{size}\r\n").into_bytes();
            raw.extend_from_slice(&chunk);
            each(&raw, &chunk[..length])?;
            if length == 0 {
                return Ok(());
            }
        }
    }
    if let Some(length) = head.get("content-length") {
        let mut left: usize = length.parse().map_err(io::Error::other)?;
        while left > 0 {
            let most = left.min(buffer.len());
            let count = reader.read(&mut buffer[..most])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= count;
            each(&buffer[..count], &buffer[..count])?;
        }
        return Ok(());
    }
    if is_response && !matches!(head.status(), 204 | 304) {
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            each(&buffer[..count], &buffer[..count])?;
        }
    }
    Ok(())
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Reply {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON-RPC messages of the response, whether it came as JSON or as an event stream.
    pub fn messages(&self) -> Vec<Value> {
        messages(&self.head, &self.body)
    }

    /// The message that answers the request.
    pub fn answer(&self) -> Value {
        let messages = self.messages();
        let answer = messages.iter().rfind(|message| message.get("method").is_none());
        answer.unwrap_or_else(|| panic!("no answer: {} {}", self.head.start, self.text())).clone()
    }
}

/// The JSON-RPC messages of a body.
pub fn messages(head: &Head, body: &[u8]) -> Vec<Value> {
    if head.is("text/event-stream") {
        let events = events(body).into_iter().filter(|event| !event.data.is_empty());
        events.map(|event| serde_json::from_str(&event.data).unwrap()).collect()
    } else {
        serde_json::from_slice(body).into_iter().collect()
    }
}

/// An event of an event stream.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub id: Option<String>,
    pub data: String,
}

/// The complete events of an event stream.
pub fn events(stream: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n");
    let complete = text.rfind("\n\n").map_or("", |end| &text[..end]);
    let mut events = Vec::new();
    for block in complete.split("\n\n") {
        let mut event = Event::default();
        for line in block.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => event.id = Some(value.to_owned()),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => event.data.push_str(&format!("\n{value}")),
                _ => {}
            }
        }
        events.push(event);
    }
    events
}

/// Opens a connection, sends bytes, and gives what follows.
pub fn open(address: &str, bytes: &[u8]) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(bytes)?;
    Ok(BufReader::new(stream))
}

/// Sends bytes on a connection of their own and reads one response to its end.
pub fn exchange(address: &str, bytes: &[u8]) -> io::Result<Reply> {
    let mut reader = open(address, bytes)?;
    let head = Head::read(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut body = Vec::new();
    read_body(&mut reader, &head, true, |_, content| {
        body.extend_from_slice(content);
        Ok(())
    })?;
    Ok(Reply { head, body })
}

/// A request to an edge, as a well-behaved client would send it, until a test spoils it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// A JSON-RPC message for the MCP endpoint.
    pub fn post(message: &Value) -> Self {
        let mut request = Self::new("POST", "/mcp");
        request.body = message.to_string().into_bytes();
        request.with("Content-Type", "application/json").with("Accept", "application/json, text/event-stream")
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The bytes of the request, with `Host` and `Content-Length` unless it states them itself.
    pub fn bytes(&self, address: &str) -> Vec<u8> {
        let mut head = Head { start: format!("{} {} HTTP/1.1", self.method, self.path), headers: Vec::new() };
        let states = |name: &str| self.headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
        if !states("host") {
            head.headers.push(("Host".to_owned(), address.to_owned()));
        }
        head.headers.extend(self.headers.iter().cloned());
        if !states("content-length") && !states("transfer-encoding") && self.method != "GET" {
            head.headers.push(("Content-Length".to_owned(), self.body.len().to_string()));
        }
        head.headers.push(("Connection".to_owned(), "close".to_owned()));
        let mut bytes = head.bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub fn send(&self, address: &str) -> Reply {
        exchange(address, &self.bytes(address)).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// A session of our own making.
#[derive(Clone, Debug)]
pub struct Session {
    pub address: String,
    pub id: String,
    pub token: Option<String>,
}

impl Session {
    /// Initializes a session and says that it is ready.
    pub fn open(address: &str, token: Option<&str>) -> Self {
        Self::declare(address, token, json!({}))
    }

    /// The same for a client that has capabilities.
    pub fn declare(address: &str, token: Option<&str>, capabilities: Value) -> Self {
        let mut session =
            Self { address: address.to_owned(), id: String::new(), token: token.map(str::to_owned) };
        let reply = session.authorized(Request::post(&initialize(capabilities))).send(address);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(reply.answer()["result"].is_object(), "{}", reply.text());
        reply.head.get("mcp-session-id").expect("a session id").clone_into(&mut session.id);
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(session.request(&ready).send(address).status(), 202);
        session
    }

    fn authorized(&self, request: Request) -> Request {
        match &self.token {
            Some(token) => request.with("Authorization", &format!("Bearer {token}")),
            None => request,
        }
    }

    /// A message within the session.
    pub fn request(&self, message: &Value) -> Request {
        self.bound(Request::post(message))
    }

    /// A request of any method within the session.
    pub fn bound(&self, request: Request) -> Request {
        self.authorized(request).with("MCP-Session-Id", &self.id).with("MCP-Protocol-Version", "2025-11-25")
    }

    /// Sends a JSON-RPC request and gives its answer.
    pub fn ask(&self, id: impl Into<Value>, method: &str, params: Value) -> Value {
        self.request(&call(id, method, params)).send(&self.address).answer()
    }

    /// Calls a tool and gives the answer.
    pub fn tool(&self, name: &str, arguments: Value) -> Value {
        self.ask(7, "tools/call", json!({"name": name, "arguments": arguments}))
    }

    pub fn delete(&self) -> Reply {
        self.bound(Request::new("DELETE", "/mcp")).send(&self.address)
    }

    /// Opens the notification stream, or resumes a stream after an event.
    pub fn listen(&self, after: Option<&str>) -> Request {
        let request = self.bound(Request::new("GET", "/mcp")).with("Accept", "text/event-stream");
        match after {
            Some(id) => request.with("Last-Event-ID", id),
            None => request,
        }
    }
}

pub fn initialize(capabilities: Value) -> Value {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": capabilities,
        "clientInfo": {"name": "chio-tests", "version": "1.0.0"},
    });
    call(0, "initialize", params)
}

pub fn call(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

/// The text of a tool's result.
pub fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}
