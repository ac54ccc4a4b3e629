//! Bodies of requests, read within bounds: of each body, of all that are being read, and of time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use chio_spec::ErrorCode;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::refusal::Refusal;

/// Room is taken in steps, as the bytes arrive, so that a body which is announced and not sent takes little.
const STEP: usize = 1024;

/// The bounds, and what is left of them.
pub(super) struct Reading {
    most: usize,
    timeout: Duration,
    steps: Arc<Semaphore>,
}

/// A body, with its share of the room for bodies. The share is kept for as long as what was read is in memory: a
/// request has it until it is answered.
pub(super) struct ReadBody {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Reading {
    pub(super) fn new(limits: &Limits) -> Self {
        // At least one body of the largest size must fit.
        let bytes = limits.reading_bytes.max(limits.body_bytes.saturating_add(STEP));
        let steps = (bytes / STEP + 1).min(Semaphore::MAX_PERMITS);
        Self { most: limits.body_bytes, timeout: limits.read_timeout, steps: Arc::new(Semaphore::new(steps)) }
    }

    /// Reads a body to its end.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<ReadBody, Refusal> {
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > self.most))
            || announced.is_some_and(|length| usize::try_from(length).is_err())
        {
            return Err(self.too_large());
        }
        tokio::time::timeout(self.timeout, self.collect(body)).await.unwrap_or_else(|_| {
            let text = "the body of the request did not arrive in time";
            let refusal = Refusal::new(ErrorCode::InvalidRequestShape, text);
            Err(refusal.with_status(StatusCode::REQUEST_TIMEOUT))
        })
    }

    async fn collect(&self, mut body: Body) -> Result<ReadBody, Refusal> {
        let mut read = ReadBody { bytes: Vec::new(), room: None };
        while let Some(frame) = body.frame().await {
            let broken =
                |_| Refusal::new(ErrorCode::InvalidRequestShape, "the body of the request broke off");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            let size = read.bytes.len().saturating_add(data.len());
            if size > self.most {
                return Err(self.too_large());
            }
            let held = read.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = u32::try_from(size.div_ceil(STEP).saturating_sub(held)).unwrap_or(u32::MAX);
            if more > 0 {
                let steps = Arc::clone(&self.steps).try_acquire_many_owned(more).map_err(|_| {
                    Refusal::rate_limited("too many requests are being read or in work at this moment", 1)
                })?;
                match &mut read.room {
                    Some(room) => room.merge(steps),
                    none => *none = Some(steps),
                }
            }
            read.bytes.extend_from_slice(&data);
        }
        Ok(read)
    }

    fn too_large(&self) -> Refusal {
        let text = format!("the body is larger than {} bytes, which is the limit here", self.most);
        Refusal::new(ErrorCode::MessageTooLarge, text)
    }
}
