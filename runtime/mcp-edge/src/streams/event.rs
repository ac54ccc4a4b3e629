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
    push_on_one_line(&mut frame, text);
    let end = frame.len();
    frame.push_str("\n\n");
    let mut bytes = frame.into_bytes();
    if let Some(data) = bytes.get_mut(start..end) {
        // Line breaks would end the field. In JSON they stand between tokens only, where a space says the same.
        for byte in data.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
    bytes.into()
}

/// Some parsers of event streams take these three for line breaks as well. In JSON they stand in strings only, where an
/// escape says the same.
fn push_on_one_line(frame: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\u{85}', '\u{2028}', '\u{2029}']) {
        let (before, from) = rest.split_at(at);
        frame.push_str(before);
        let mut characters = from.chars();
        frame.push_str(match characters.next() {
            Some('\u{85}') => "\\u0085",
            Some('\u{2028}') => "\\u2028",
            _ => "\\u2029",
        });
        rest = characters.as_str();
    }
    frame.push_str(rest);
}
