//! Chio's own transport: length-prefixed canonical JSON over TCP, a Unix socket or standard input and output.
//!
//! A frame is a 32-bit big-endian length and a canonical JSON message of at most 16 MiB ([`frame`]). Agents send
//! calls, questions for their capabilities and heartbeats; the kernel answers with chunks, responses that carry a
//! signed receipt, lists, heartbeats, and on its own account with notices of revocation. There is no handshake and no
//! marker to resynchronise on: whatever cannot be read ends the connection, and only that connection.
//!
//! [`serve`] puts a kernel behind a [`Listener`]; [`Client`] is the other side. The crate maps its protocol onto the
//! kernel and back and decides nothing itself. What it does answer for: a peer that is slow, half open or hostile
//! costs bounded memory and time and delays nobody but itself, and a call whose peer is gone is cancelled.

pub mod frame;

mod address;
mod calls;
mod client;
mod connection;
mod error;
mod limits;
mod listener;
mod memory;
mod outbox;
mod peers;
mod reader;
mod revocations;
mod server;
mod unix_socket;
mod waiting;

pub use address::{Address, AddressFault, InvalidAddress};
pub use client::Client;
pub use error::NativeError;
pub use frame::decode_frame;
pub use limits::ServerLimits;
pub use listener::Listener;
pub use reader::{Frame, FrameReader};
pub use server::{serve, serve_connection};
pub use waiting::CallStream;
