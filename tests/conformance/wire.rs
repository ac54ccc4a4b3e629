//! A client of the native wire, written from the protocol and not from `chio-native`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

use chio_json::canonical;
use serde_json::{Value, json};

use crate::samples::Samples;

/// Longest wait for a frame over a socket.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection; every frame in either direction is a sample.
pub(crate) struct Wire<'s> {
    source: Box<dyn Read>,
    sink: Box<dyn Write>,
    samples: &'s Samples,
    transport: &'static str,
}

impl<'s> Wire<'s> {
    /// Connects to what `chio serve --json` said it listens on.
    pub(crate) fn connect(address: &str, samples: &'s Samples) -> Self {
        if let Some(path) = address.strip_prefix("unix://") {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let source = Box::new(stream.try_clone().unwrap());
            return Self { source, sink: Box::new(stream), samples, transport: "unix" };
        }
        let stream = TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let source = Box::new(stream.try_clone().unwrap());
        Self { source, sink: Box::new(stream), samples, transport: "tcp" }
    }

    /// Takes over the pipes of a child.
    pub(crate) fn pipes(child: &mut Child, samples: &'s Samples) -> Self {
        let source = Box::new(child.stdout.take().unwrap());
        Self { source, sink: Box::new(child.stdin.take().unwrap()), samples, transport: "stdio" }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let text = self.write(message);
        self.samples.keep("AgentMessage", self.transport, text);
    }

    /// Sends what is no sample, because it breaks the schema on purpose.
    pub(crate) fn provoke(&mut self, message: &Value) -> Value {
        self.write(message);
        self.receive()["result"].clone()
    }

    fn write(&mut self, message: &Value) -> String {
        let text = canonical::from_value(message);
        self.sink.write_all(&u32::try_from(text.len()).unwrap().to_be_bytes()).unwrap();
        self.sink.write_all(text.as_bytes()).unwrap();
        self.sink.flush().unwrap();
        text
    }

    /// The kernel's next message.
    pub(crate) fn receive(&mut self) -> Value {
        let mut prefix = [0; 4];
        self.source.read_exact(&mut prefix).expect("a frame of the kernel");
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes(prefix)).unwrap()];
        self.source.read_exact(&mut payload).expect("a whole frame of the kernel");
        let text = String::from_utf8(payload).expect("frames are UTF-8");
        let message = serde_json::from_str(&text).expect("frames are JSON");
        self.samples.keep("KernelMessage", self.transport, text);
        message
    }

    /// Sends one call and returns what follows it, response last.
    pub(crate) fn call(&mut self, request: &Value) -> Vec<Value> {
        self.send(request);
        let mut answers = vec![self.receive()];
        while answers.last().unwrap()["type"] == "tool_call_chunk" {
            answers.push(self.receive());
        }
        answers
    }

    /// Sends one call and returns its result.
    pub(crate) fn result(&mut self, request: &Value) -> Value {
        let response = self.call(request).pop().unwrap();
        assert_eq!((&response["type"], &response["id"]), (&json!("tool_call_response"), &request["id"]));
        response["result"].clone()
    }

    /// Writes bytes that are no frame and returns once the kernel has closed the connection.
    pub(crate) fn spoil(mut self, bytes: &[u8]) {
        self.sink.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        match self.source.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "nothing is answered to what cannot be read"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// A call of a tool of the demo server.
pub(crate) fn request(id: &str, token: &Value, tool: &str, params: Value) -> Value {
    json!({
        "capability_token": token,
        "id": id,
        "params": params,
        "server_id": "demo",
        "tool": tool,
        "type": "tool_call_request",
    })
}
