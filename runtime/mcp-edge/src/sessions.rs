//! Which sessions there are, how they come and how they end.
//!
//! A session lives in the [`Registry`] while it is initializing, ready or draining. The first two serve requests;
//! whatever else a request finds (a draining session, one that has ended, an id that never was) it is told the same:
//! there is no such session, initialize again. What has ended is remembered for operators, the newest
//! thousand, and for nobody else.
//!
//! A session is a future of the [`Host`](crate::Host) on one side of a channel, and a [`Streams`](crate::streams::Streams)
//! on the other; one task drives both. It belongs to the caller who opened it.

mod ended;
mod id;
mod lifecycle;
mod registry;
mod session;

pub(crate) use ended::Ended;
pub(crate) use lifecycle::State;
pub(crate) use registry::{Census, NotAdmitted, Registry};
pub(crate) use session::{Refused, Session};
