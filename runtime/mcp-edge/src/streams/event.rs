//! Event ids, and events as they stand on the wire.

use bytes::Bytes;

/// How long a client should wait before it resumes a stream that we ended, in milliseconds.
const RETRY: u32 = 1000;

/// A comment that keeps a silent connection alive; no parser hands it on.
pub(super) const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// The sequence of an event id, or `None` when the text is not an id that a session of this id gave out.
pub(crate) fn sequence_of(session_id: &str, text: &str) -> Option<u64> {
    let (session, sequence) = text.rsplit_once('-')?;
    let canonical = !sequence.is_empty()
        && sequence.bytes().all(|byte| byte.is_ascii_digit())
        && !sequence.starts_with('0');
    if session != session_id || !canonical { None } else { sequence.parse().ok() }
}

/// One event. A text that is empty is the priming event: it lets a client that knows nothing yet resume the stream.
pub(super) fn frame(session_id: &str, sequence: u64, text: &str) -> Bytes {
    let mut frame = String::with_capacity(session_id.len() + text.len() + 48);
    frame.push_str("id: ");
    frame.push_str(session_id);
    frame.push('-');
    frame.push_str(&sequence.to_string());
    if text.is_empty() {
        frame.push_str("\nretry: ");
        frame.push_str(&RETRY.to_string());
        frame.push_str("\ndata: \n\n");
        return frame.into();
    }
    frame.push_str("\nevent: message\ndata: ");
    let start = frame.len();
    frame.push_str(text);
    frame.push_str("\n\n");
    let mut bytes = frame.into_bytes();
    let end = start.saturating_add(text.len());
    if let Some(data) = bytes.get_mut(start..end) {
        // Line breaks would end the field. In JSON they stand between tokens only, where a space says the same.
        for byte in data.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
    bytes.into()
}
