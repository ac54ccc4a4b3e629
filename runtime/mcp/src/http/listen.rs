//! The stream for what belongs to no request.

use std::sync::Arc;

use reqwest::StatusCode;

use crate::channel::{Arrival, Concerns};
use crate::http::client::describe;
use crate::http::events::{Cursor, Events, Over, is_stream};
use crate::http::link::{Link, pause};
use crate::jsonrpc::Message;

/// Keeps the stream open as long as the connection lives, resuming it where it broke. A server need not have one.
pub(super) async fn run(link: &Arc<Link>) {
    let mut cursor = Cursor::default();
    let mut failures = 0;
    let mut had_one = false;
    loop {
        match link.get(cursor.last_id.as_ref()).send().await {
            Ok(response) if response.status() == StatusCode::OK && is_stream(&response) => {
                (failures, had_one) = (0, true);
                read(link, Events::of(response), &mut cursor).await;
            }
            // A server without the stream may answer so too; if it lost the session, the next request tells.
            Ok(response) if had_one && link.is_lost(response.status()) => return link.lose().await,
            Ok(response) if response.status() == StatusCode::CONFLICT && cursor.last_id.is_some() => {
                // It cannot be resumed there; what was missed is lost, and what comes is not.
                cursor = Cursor::default();
                failures += 1;
            }
            Ok(response) if response.status().is_client_error() || response.status().is_success() => {
                return tracing::debug!(status = %response.status(), "a tool server has no stream of notifications");
            }
            Ok(response) => {
                failures += 1;
                tracing::debug!(status = %response.status(), "the stream of a tool server was refused");
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(error = describe(error), "the stream of a tool server did not open");
            }
        }
        tokio::time::sleep(pause(cursor.retry(), failures)).await;
    }
}

async fn read(link: &Arc<Link>, mut events: Events, cursor: &mut Cursor) {
    loop {
        match events.next(cursor).await {
            Ok(text) => {
                let arrival = match Message::parse(&text) {
                    // Answers belong to the streams of their requests, and no one else may give them.
                    Ok(Message::Response(answer)) => {
                        tracing::debug!(id = %answer.id, "dropped an answer that came on the wrong stream");
                        continue;
                    }
                    Ok(message) => Arrival::Message(message),
                    Err(malformed) => Arrival::Malformed(malformed),
                };
                link.deliver(arrival).await;
            }
            Err(Over::TooLarge(bytes)) => {
                return link.deliver(Arrival::Oversized { bytes, concerns: Concerns::Nobody }).await;
            }
            Err(Over::Ended(reason)) => {
                return tracing::debug!(%reason, "the stream of a tool server ended");
            }
        }
    }
}
