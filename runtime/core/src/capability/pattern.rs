//! The three pattern languages of grants. They are small on purpose: whether one pattern covers another must
//! be decidable by reading them.

/// Whether a tool grant's server or tool pattern (`*` or an exact name) covers `name`, itself a name or a
/// pattern.
pub(crate) fn name_covers(pattern: &str, name: &str) -> bool {
    pattern == "*" || pattern == name
}

/// Whether two tool patterns have a name in common.
pub(crate) fn names_overlap(left: &str, right: &str) -> bool {
    name_covers(left, right) || name_covers(right, left)
}

/// Whether a prompt pattern (`*`, `prefix*` or exact) covers `other`, itself a name or a pattern.
pub(crate) fn prefix_covers(pattern: &str, other: &str) -> bool {
    pattern == other || pattern.strip_suffix('*').is_some_and(|prefix| other.starts_with(prefix))
}

/// Whether a resource pattern covers `other`, itself a URI or a pattern. What climbs is covered only by
/// itself and by `*`: otherwise a child could name exactly what no prefix of its parent admits.
pub(crate) fn uri_covers(pattern: &str, other: &str) -> bool {
    prefix_covers(pattern, other) && (pattern == other || pattern == "*" || !climbs(other))
}

/// How exactly a resource or prompt pattern names `value`: `None` when it does not match. An exact match is
/// worth most, then the longest prefix.
pub(crate) fn prefix_rank(pattern: &str, value: &str) -> Option<usize> {
    if pattern == value {
        return Some(usize::MAX);
    }
    let prefix = pattern.strip_suffix('*')?;
    value.starts_with(prefix).then_some(prefix.len())
}

/// Whether a URI climbs (`..` as a segment, plainly or percent-encoded, with either slash). Under a prefix
/// pattern such a URI would name something outside the prefix.
pub(crate) fn climbs(uri: &str) -> bool {
    let plain = uri.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    // URL parsers drop white space at the ends, which would otherwise hide a last segment.
    plain.split(['/', '\\', '?', '#']).any(|segment| segment.trim() == "..")
}

/// Whether every reader takes the URI for the same one. No URI holds control characters (RFC 3986, section 2),
/// but URL parsers remove tabs and line breaks wherever they stand, and others from the ends (WHATWG URL, "basic
/// URL parser"), so what follows from such a text is not what it shows.
pub(crate) fn readable(uri: &str) -> bool {
    !uri.bytes().any(|byte| byte.is_ascii_control())
}
