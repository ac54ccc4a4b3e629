//! A relay between clients and the edge that keeps every exchange.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::http::{Head, Request, messages, read_body};

/// One request and what came back so far.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Head,
    pub body: Vec<u8>,
    pub response: Option<Head>,
    pub answer: Vec<u8>,
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    Client,
    Edge,
}

/// A JSON-RPC message that passed.
#[derive(Clone, Debug)]
pub struct Message {
    pub sender: Sender,
    pub session: String,
    pub content: Value,
    /// The status of the response that carried it; 0 for what a client sent.
    pub status: u16,
    /// The request that it answers.
    pub answers: Option<Value>,
}

/// The admin token of edges whose sessions a relay shuts down.
pub const ADMIN: &str = "an-admin-token-for-tests-0123456789";

/// A relay before an edge. Two paths are its own: `/test/delete` deletes every session that passed, as another client of
/// the same user could, and `/test/shutdown` ends it as an operator can.
pub struct Tee {
    pub address: String,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Tee {
    /// Stands before the edge at this address.
    pub fn before(edge: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let exchanges = Arc::default();
        let relay = Relay { own: address.clone(), edge: edge.to_owned(), exchanges: Arc::clone(&exchanges) };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, relay) = (client.unwrap(), relay.clone());
                std::thread::spawn(move || relay.serve(&client).unwrap_or_default());
            }
        });
        Self { address, exchanges }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap().clone()
    }

    /// Every JSON-RPC message that passed, in the order of its exchange. One that was sent twice, because its stream
    /// was resumed, is there twice.
    pub fn messages(&self) -> Vec<Message> {
        let exchanges = self.exchanges();
        let mut asked: HashMap<(Sender, String, String), Value> = HashMap::new();
        let mut passed = Vec::new();
        for exchange in &exchanges {
            let session = exchange.session();
            if let Ok(content) = serde_json::from_slice::<Value>(&exchange.body) {
                passed.push((Sender::Client, session.clone(), content, 0));
            }
            if let Some(head) = &exchange.response {
                let sent = messages(head, &exchange.answer);
                let sent = sent.into_iter().filter(|message| message.get("jsonrpc").is_some());
                passed.extend(sent.map(|content| (Sender::Edge, session.clone(), content, head.status())));
            }
        }
        for (sender, session, content, _) in &passed {
            if content.get("method").is_some() && content.get("id").is_some() {
                asked.insert((*sender, session.clone(), content["id"].to_string()), content.clone());
            }
        }
        let answered = |(sender, session, content, status): (Sender, String, Value, u16)| {
            let other = if sender == Sender::Client { Sender::Edge } else { Sender::Client };
            let answers = match content.get("method") {
                None => asked.get(&(other, session.clone(), content["id"].to_string())).cloned(),
                Some(_) => None,
            };
            Message { sender, session, content, status, answers }
        };
        passed.into_iter().map(answered).collect()
    }

    /// How many requests of these methods the clients sent and the edge answered. Those to sessions that are gone do
    /// not count.
    pub fn answered(&self, methods: &[&str]) -> usize {
        let mut answered = BTreeSet::new();
        for message in self.messages() {
            let (Sender::Edge, 200, Some(request)) = (message.sender, message.status, message.answers) else {
                continue;
            };
            if methods.contains(&request["method"].as_str().unwrap_or_default()) {
                answered.insert((message.session, request["id"].to_string()));
            }
        }
        answered.len()
    }

    /// How many requests of these methods servers made of clients.
    pub fn asked(&self, methods: &[&str]) -> usize {
        let mut asked = BTreeSet::new();
        for message in self.messages().into_iter().filter(|message| message.sender == Sender::Edge) {
            if methods.contains(&message.content["method"].as_str().unwrap_or_default()) {
                asked.insert((message.session, message.content["id"].to_string()));
            }
        }
        asked.len()
    }
}

impl Exchange {
    /// The session that it belongs to.
    pub fn session(&self) -> String {
        let made = self.response.as_ref().and_then(|head| head.get("mcp-session-id"));
        self.request.get("mcp-session-id").or(made).unwrap_or_default().to_owned()
    }
}

#[derive(Clone)]
struct Relay {
    own: String,
    edge: String,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Relay {
    /// Serves one connection. When either end leaves, both are closed, whoever still holds a handle.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let edge = TcpStream::connect(&self.edge)?;
        let passed = self.pass(client, &edge);
        let _ = client.shutdown(Shutdown::Both);
        let _ = edge.shutdown(Shutdown::Both);
        passed
    }

    fn pass(&self, client: &TcpStream, edge: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        edge.set_nodelay(true)?;
        let mut from_client = BufReader::new(client.try_clone()?);
        let mut from_edge = BufReader::new(edge.try_clone()?);
        let (mut to_client, mut to_edge) = (client.try_clone()?, edge.try_clone()?);
        while let Some(mut head) = Head::read(&mut from_client)? {
            if head.start.contains(" /test/") {
                self.lose(head.start.contains(" /test/shutdown "));
                to_client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
                return Ok(());
            }
            // The edge must see the name that it goes by; every other one stays as it is.
            for (name, value) in &mut head.headers {
                if name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("origin") {
                    *value = self.renamed(value);
                }
            }
            to_edge.write_all(&head.bytes())?;
            let mut body = Vec::new();
            read_body(&mut from_client, &head, false, |raw, content| {
                body.extend_from_slice(content);
                to_edge.write_all(raw)
            })?;
            let index = {
                let mut exchanges = self.exchanges.lock().unwrap();
                exchanges.push(Exchange { request: head, body, response: None, answer: Vec::new() });
                exchanges.len() - 1
            };

            // A client that leaves in the middle of an answer leaves the edge too.
            let (leaving, left) = (client.try_clone()?, edge.try_clone()?);
            std::thread::spawn(move || {
                if !matches!(leaving.peek(&mut [0]), Ok(1)) {
                    let _ = left.shutdown(Shutdown::Both);
                }
            });
            let Some(head) = Head::read(&mut from_edge)? else { break };
            self.exchanges.lock().unwrap()[index].response = Some(head.clone());
            to_client.write_all(&head.bytes())?;
            let passed = read_body(&mut from_edge, &head, true, |raw, content| {
                self.exchanges.lock().unwrap()[index].answer.extend_from_slice(content);
                to_client.write_all(raw)
            });
            if passed.is_err()
                || head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            {
                break;
            }
        }
        Ok(())
    }

    /// Addresses of the relay become addresses of the edge.
    fn renamed(&self, value: &str) -> String {
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let (own, edge) = (port(&self.own), port(&self.edge));
        let scheme = value.find("://").map_or("", |end| &value[..end + 3]);
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            if value[scheme.len()..] == format!("{host}:{own}") {
                return format!("{scheme}{host}:{edge}");
            }
        }
        value.to_owned()
    }

    /// Ends every session that passed and is not over.
    fn lose(&self, by_operator: bool) {
        let exchanges = self.exchanges.lock().unwrap().clone();
        let sessions: BTreeSet<String> = exchanges.iter().map(Exchange::session).collect();
        let token = exchanges.iter().rev().find_map(|exchange| exchange.request.get("authorization"));
        let (mut ended, sessions) = (0, sessions.iter().filter(|session| !session.is_empty()));
        for session in sessions {
            let end = if by_operator {
                let path = format!("/admin/sessions/{session}/shutdown");
                Request::new("POST", &path).with("Authorization", &format!("Bearer {ADMIN}"))
            } else {
                let delete = Request::new("DELETE", "/mcp").with("MCP-Session-Id", session);
                match token {
                    Some(token) => delete.with("Authorization", token),
                    None => delete,
                }
            };
            ended += usize::from(matches!(end.send(&self.edge).status(), 200..300));
        }
        assert!(ended > 0, "no session was lost");
    }
}
