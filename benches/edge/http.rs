//! The smallest HTTP client that can measure: one connection, one request at a time, no delay.
//!
//! Not the client that our own code uses: what measures must not share the faults of what is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest silence of a peer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that is used again and again.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

/// A response, read to its end.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Connection, String> {
        let open = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(Connection { reader: BufReader::new(stream) })
        };
        open().map_err(|error: std::io::Error| format!("connecting to {address}: {error}"))
    }

    /// Sends a request, whose head comes ready-made, and reads the response.
    pub(crate) fn exchange(&mut self, head: &str, body: &str) -> Result<Response, String> {
        self.send(head, body)?;
        let (status, headers) = self.head()?;
        let mut response = Response { status, headers, body: String::new() };
        let bytes = if response.header("transfer-encoding").is_some() {
            self.chunks()?
        } else {
            let length = response.header("content-length").map_or(Ok(0), str::parse);
            self.bytes(length.map_err(|_| "a content length that is no number".to_owned())?)?
        };
        response.body = String::from_utf8(bytes).map_err(|_| "a body that is not UTF-8".to_owned())?;
        Ok(response)
    }

    /// Sends a request and reads only the head of the response, whose body stays open.
    pub(crate) fn open_stream(&mut self, head: &str) -> Result<u16, String> {
        self.send(head, "")?;
        Ok(self.head()?.0)
    }

    fn send(&mut self, head: &str, body: &str) -> Result<(), String> {
        // One write: with two, the second would wait for the peer.
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.reader.get_mut().write_all(request.as_bytes()).map_err(|error| format!("sending: {error}"))
    }

    fn head(&mut self) -> Result<(u16, Vec<(String, String)>), String> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("not a status line: {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| format!("not a header: {line:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
                .map_err(|_| format!("not the length of a chunk: {line:?}"))?;
            body.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).map_err(|error| format!("reading a body: {error}"))?;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("reading a line: {error}")),
        }
    }
}
