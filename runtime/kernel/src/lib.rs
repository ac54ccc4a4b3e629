//! The decision between agent and tool.
//!
//! A surface hands the kernel a [`CallRequest`]: a capability, a server, a target and its arguments. The kernel decides
//! in a fixed order, runs what it allows through a [`ToolServerConnection`], and answers with an [`Outcome`] behind
//! which stands exactly one signed receipt, durable before the answer. It knows no HTTP, no JSON-RPC and no command
//! line.
//!
//! Three promises hold everywhere in this crate. Whatever is not a clear yes is a no. A tool runs only after its call is
//! on record. And an answer is given only after its receipt is durable, or it is an internal error that says so.

mod authority;
mod call;
mod checkpoints;
mod clock;
mod closing;
mod connection;
mod dispatch;
mod error;
mod guarding;
mod kernel;
mod pace;
mod pauses;
mod pipeline;
mod records;
mod recovery;
mod scope;
mod self_test;
mod standing;
mod steps;
mod stream;
mod tokens;
mod trail;
mod ungoverned;
mod verdict;

pub use authority::LocalAuthority;
pub use call::{CallRequest, CallerSession, Outcome, Patience};
pub use checkpoints::checkpoint_signer;
pub use clock::{Clock, SystemClock};
pub use connection::{Target, ToolCall, ToolOutput, ToolServerConnection};
pub use error::KernelError;
pub use kernel::{Kernel, KernelSettings};
pub use pauses::{Pause, Pauses};
pub use self_test::self_test;
pub use standing::{Standing, reads_some};
pub use stream::{ChunkSink, StreamLimits};
pub use ungoverned::UngovernedRequest;
