//! Where a native server listens and a client connects, as one word on a command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a native endpoint.
///
/// ```
/// use chio_native::Address;
///
/// assert_eq!("tcp://127.0.0.1:7400".parse(), Ok(Address::Tcp { host: "127.0.0.1".into(), port: 7400 }));
/// assert_eq!("unix:///run/chio.sock".parse(), Ok(Address::Unix("/run/chio.sock".into())));
/// assert_eq!("stdio:".parse(), Ok(Address::Stdio));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `tcp://host:port`; an IPv6 address stands in brackets. Port 0 lets the system choose when listening.
    Tcp {
        /// Host name or IP address, without brackets.
        host: String,
        /// Port, 0 to 65535.
        port: u16,
    },
    /// `unix:///absolute/path` or `unix://relative/path`.
    Unix(PathBuf),
    /// `stdio:`: one connection over standard input and output.
    Stdio,
}

/// A text that names no native endpoint, with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a native address: {fault}")]
pub struct InvalidAddress {
    /// The text as it was given.
    pub text: String,
    /// What is wrong with it.
    pub fault: AddressFault,
}

/// What is wrong with the text of an address, and how to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressFault {
    /// The text begins with none of the three schemes.
    #[error("write tcp://HOST:PORT, unix://PATH or stdio:")]
    Scheme,
    /// A TCP address without a host.
    #[error("the host is missing; write for example tcp://127.0.0.1:7400")]
    Host,
    /// A TCP address whose port is missing or no number from 0 to 65535.
    #[error("the port must be a number from 0 to 65535; write for example tcp://127.0.0.1:7400")]
    Port,
    /// An IPv6 address without brackets, so that its last group reads like a port.
    #[error("an IPv6 address stands in brackets; write for example tcp://[::1]:7400")]
    Brackets,
    /// A Unix address without a path.
    #[error("the path is missing; write for example unix:///run/chio.sock")]
    Path,
    /// Standard input and output take nothing after the colon.
    #[error("standard input and output are written stdio: with nothing behind it")]
    AfterStdio,
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        parse(text).map_err(|fault| InvalidAddress { text: text.to_owned(), fault })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Stdio => formatter.write_str("stdio:"),
        }
    }
}

fn parse(text: &str) -> Result<Address, AddressFault> {
    if let Some(rest) = text.strip_prefix("tcp://") {
        parse_tcp(rest)
    } else if let Some(path) = text.strip_prefix("unix://") {
        // A NUL byte cannot be part of a path, and Linux would read a leading one as an abstract socket name.
        let usable = !path.is_empty() && !path.contains('\0');
        if usable { Ok(Address::Unix(path.into())) } else { Err(AddressFault::Path) }
    } else if let Some(rest) = text.strip_prefix("stdio:") {
        if rest.is_empty() { Ok(Address::Stdio) } else { Err(AddressFault::AfterStdio) }
    } else {
        Err(AddressFault::Scheme)
    }
}

fn parse_tcp(rest: &str) -> Result<Address, AddressFault> {
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:").ok_or(AddressFault::Port)?,
        None => rest.rsplit_once(':').ok_or(AddressFault::Port)?,
    };
    if host.is_empty() {
        return Err(AddressFault::Host);
    }
    if !rest.starts_with('[') && host.contains(':') {
        return Err(AddressFault::Brackets);
    }
    // `u16::from_str` takes a leading plus sign, which is no port.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { port.parse().ok() } else { None };
    Ok(Address::Tcp { host: host.to_owned(), port: port.ok_or(AddressFault::Port)? })
}
