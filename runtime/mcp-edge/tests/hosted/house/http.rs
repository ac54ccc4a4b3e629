//! HTTP by hand: what a well-kept client would not send must be sendable.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

/// A request. `Host` is the edge's own unless it is set.
pub struct Ask<'a> {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<&'a str>,
    chunked: bool,
    host: Option<Vec<String>>,
}

impl<'a> Ask<'a> {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
            chunked: false,
            host: None,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST to `/mcp` as stock clients send it.
    pub fn post(body: &'a str) -> Self {
        Self::new("POST", "/mcp")
            .header("Accept", "application/json, text/event-stream")
            .header("Content-Type", "application/json")
            .body(body)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Drops a header, so that another value can be set or none.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn body(mut self, body: &'a str) -> Self {
        self.body = Some(body);
        self
    }

    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub fn hosts(mut self, hosts: &[&str]) -> Self {
        self.host = Some(hosts.iter().map(|host| (*host).to_owned()).collect());
        self
    }

    fn head(&self, address: SocketAddr) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for host in self.host.clone().unwrap_or_else(|| vec![address.to_string()]) {
            head += &format!("Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match self.body {
            Some(_) if self.chunked => head += "Transfer-Encoding: chunked\r\n",
            Some(body) => head += &format!("Content-Length: {}\r\n", body.len()),
            None => {}
        }
        head + "\r\n"
    }
}

/// A response whose body is still to be read.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
    events: String,
    /// Whether the body came to the end that was announced for it.
    pub whole: bool,
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub retry: Option<String>,
    pub data: Option<String>,
}

impl Event {
    pub fn message(&self) -> Option<Value> {
        let data = self.data.as_deref().filter(|data| !data.is_empty())?;
        Some(serde_json::from_str(data).unwrap())
    }
}

pub async fn send(address: SocketAddr, ask: Ask<'_>) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(ask.head(address).as_bytes()).await.unwrap();
    if let Some(body) = ask.body {
        // The edge may answer and close before it has read everything.
        for piece in body.as_bytes().chunks(16 * 1024) {
            let framed = if ask.chunked {
                [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
            } else {
                piece.to_vec()
            };
            if stream.write_all(&framed).await.is_err() {
                break;
            }
        }
        if ask.chunked {
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
    }
    receive(stream).await
}

/// Sends bytes as they are.
pub async fn send_raw(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    receive(stream).await
}

/// Sends a request and goes away without reading.
pub async fn abort(address: SocketAddr, ask: Ask<'_>, after: Duration) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let bytes = ask.head(address) + ask.body.unwrap_or_default();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    tokio::time::sleep(after).await;
}

async fn receive(stream: TcpStream) -> Reply {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let read =
            tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await.expect("a response in time");
        assert!(read.unwrap() > 0, "the connection was closed without a response: {lines:?}");
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines[1..]
        .iter()
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Reply { status, headers, reader, events: String::new(), whole: false }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The next piece of the body, or `None` at its end.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        if let Some(length) = self.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.reader.read_exact(&mut body).await.ok()?;
            self.headers.retain(|(name, _)| name != "content-length");
            return Some(body);
        }
        if self.header("transfer-encoding") != Some("chunked") {
            return None;
        }
        let mut line = String::new();
        if self.reader.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut piece = vec![0; size + 2];
        self.reader.read_exact(&mut piece).await.ok()?;
        piece.truncate(size);
        self.whole = size == 0;
        (size > 0).then_some(piece)
    }

    pub async fn text(&mut self) -> String {
        let mut body = Vec::new();
        while let Some(piece) = tokio::time::timeout(PATIENCE, self.piece()).await.expect("a body in time") {
            body.extend(piece);
        }
        String::from_utf8(body).unwrap()
    }

    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}"))
    }

    /// The next event, or `None` at the end of the stream. Comments are passed over.
    pub async fn event(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some((block, rest)) = self.events.split_once("\n\n") {
                    let block = block.to_owned();
                    self.events = rest.to_owned();
                    let field = |name: &str| {
                        let mut values = block.lines().filter_map(|line| line.strip_prefix(name));
                        let value = values.next().map(|value| value.trim_start().to_owned());
                        assert!(values.next().is_none(), "{block}");
                        value
                    };
                    let event = Event { id: field("id:"), retry: field("retry:"), data: field("data:") };
                    if event.id.is_some() || event.data.is_some() {
                        return Some(event);
                    }
                    continue;
                }
                let piece = self.piece().await?;
                self.events += &String::from_utf8(piece).unwrap();
            }
        })
        .await
        .expect("an event in time")
    }

    /// All events up to the end of the stream.
    pub async fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }

    /// All messages up to the end, from JSON or from events.
    pub async fn messages(&mut self) -> Vec<Value> {
        if self.header("content-type") == Some("application/json") {
            return vec![self.json().await];
        }
        self.events().await.iter().filter_map(Event::message).collect()
    }
}
