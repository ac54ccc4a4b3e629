//! "Is this text canonical already?": one pass, nothing allocated.
//!
//! A frame is refused unless it is canonical, and a canonical frame has canonical parts, so its nested
//! signed objects can be verified by cutting members out of the text instead of parsing and rewriting it.
//! The scan covers opaque values too, where `serde_json::value::RawValue` would accept duplicate keys,
//! lone surrogates and any depth.

use std::cmp::Ordering;
use std::ops::Range;

use super::{key, number, plain};
use crate::MAX_DEPTH;

/// Where and why a text is not canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this text is not canonical JSON: {fault} at byte {offset}")]
pub struct NotCanonical {
    /// Offset in bytes, from 0, of the first byte that canonical text could not hold; for a number, an
    /// escape or a key the offset of its beginning.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What canonical JSON does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are not UTF-8.
    #[error("the bytes are not UTF-8")]
    NotUtf8,
    /// The text ends inside a value.
    #[error("the text ends inside a value")]
    UnexpectedEnd,
    /// A byte that JSON does not allow at this place.
    #[error("an unexpected byte")]
    UnexpectedByte,
    /// White space between the parts of a value, or around it.
    #[error("white space outside a string")]
    Whitespace,
    /// Something after the end of the value.
    #[error("more text after the end of the value")]
    TrailingData,
    /// More than [`MAX_DEPTH`] objects and arrays are open at once.
    #[error("objects and arrays nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A control character below U+0020 stands in a string as itself.
    #[error("a control character that is not escaped")]
    ControlCharacter,
    /// An escape other than the one that RFC 8785 prescribes for its character, or no escape at all.
    #[error("an escape that canonical text does not use")]
    Escape,
    /// A number that is not written as it would be printed.
    #[error("a number that is not in canonical form")]
    Number,
    /// A key that sorts before its predecessor by UTF-16 code units.
    #[error("a key out of order")]
    KeyOrder,
    /// A key that equals its predecessor. (A repetition further away shows as [`Fault::KeyOrder`].)
    #[error("a key that appears twice")]
    DuplicateKey,
}

/// Checks that bytes are canonical JSON and returns them as text.
///
/// # Errors
/// The first fault and its offset.
///
/// ```
/// use chio_json::canonical::{Fault, NotCanonical, scan};
///
/// assert_eq!(scan(br#"{"a":1,"b":[]}"#), Ok(r#"{"a":1,"b":[]}"#));
/// assert_eq!(scan(br#"{"b":1,"a":2}"#), Err(NotCanonical { offset: 7, fault: Fault::KeyOrder }));
/// ```
pub fn scan(bytes: &[u8]) -> Result<&str, NotCanonical> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| NotCanonical { offset: error.valid_up_to(), fault: Fault::NotUtf8 })?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(0)?;
    scanner.end()?;
    Ok(text)
}

/// Scans one canonical object and returns it without the members named, which is canonical again.
///
/// # Errors
/// The first fault; a canonical text that is not an object is refused at its first byte.
pub(crate) fn scan_object_without(text: &str, names: &[&str]) -> Result<String, NotCanonical> {
    let mut scanner = Scanner { text, at: 0 };
    let mut kept = String::with_capacity(text.len());
    kept.push('{');
    scanner.object(0, &mut |key, member| {
        // The names need no escapes, so the raw key can be compared.
        if names.contains(&key) {
            return;
        }
        if kept.len() > 1 {
            kept.push(',');
        }
        kept.push_str(member);
    })?;
    scanner.end()?;
    kept.push('}');
    Ok(kept)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

type Scanned<T = ()> = Result<T, NotCanonical>;

impl<'a> Scanner<'a> {
    /// One value, with `depth` objects and arrays open around it.
    fn value(&mut self, depth: usize) -> Scanned {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth, &mut |_, _| ()),
            Some(b'[') => self.array(depth),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected()),
        }
    }

    /// One object; `on_member` is shown every key between its quotes and the whole member.
    fn object(&mut self, depth: usize, on_member: &mut impl FnMut(&'a str, &'a str)) -> Scanned {
        self.open(b'{', depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        let mut previous: Option<Key<'a>> = None;
        loop {
            let start = self.at;
            let key = self.string()?;
            if let Some(fault) = previous.and_then(|previous| key.fault_after(previous)) {
                return Err(NotCanonical { offset: start, fault });
            }
            previous = Some(key);
            self.expect(b':')?;
            self.value(depth + 1)?;
            on_member(key.raw, self.slice(start..self.at));
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Scanned {
        self.open(b'[', depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn open(&mut self, bracket: u8, depth: usize) -> Scanned {
        if self.peek() == Some(bracket) && depth >= MAX_DEPTH {
            return Err(self.fault(Fault::TooDeep));
        }
        self.expect(bracket)
    }

    fn string(&mut self) -> Scanned<Key<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain::prefix_len(self.rest());
            match self.peek() {
                Some(b'"') => {
                    let raw = self.slice(start..self.at);
                    self.at += 1;
                    return Ok(Key { raw, escaped });
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = true;
                }
                Some(_) => return Err(self.fault(Fault::ControlCharacter)),
                None => return Err(self.fault(Fault::UnexpectedEnd)),
            }
        }
    }

    fn escape(&mut self) -> Scanned {
        let length = match self.rest() {
            [_, b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => 2,
            // U+0008 to U+000D have short forms, all but U+000B.
            [_, b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
            [_, b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return Err(self.fault(Fault::Escape)),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Scanned {
        let belongs = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let end = self.at + self.rest().iter().take_while(belongs).count();
        if !number::is_canonical(self.slice(self.at..end)) {
            return Err(self.fault(Fault::Number));
        }
        self.at = end;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Scanned {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.fault(Fault::UnexpectedByte));
        }
        self.at += word.len();
        Ok(())
    }

    fn end(&self) -> Scanned {
        match self.peek() {
            None => Ok(()),
            Some(b' ' | b'\t' | b'\n' | b'\r') => Err(self.fault(Fault::Whitespace)),
            Some(_) => Err(self.fault(Fault::TrailingData)),
        }
    }

    fn expect(&mut self, byte: u8) -> Scanned {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// A part of the text. Both ends are always next to an ASCII byte, so the range is never refused.
    fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    fn unexpected(&self) -> NotCanonical {
        self.fault(match self.peek() {
            None => Fault::UnexpectedEnd,
            Some(b' ' | b'\t' | b'\n' | b'\r') => Fault::Whitespace,
            Some(_) => Fault::UnexpectedByte,
        })
    }

    fn fault(&self, fault: Fault) -> NotCanonical {
        NotCanonical { offset: self.at, fault }
    }
}

/// A key as it stands between its quotes.
#[derive(Clone, Copy)]
struct Key<'a> {
    raw: &'a str,
    escaped: bool,
}

impl Key<'_> {
    /// What is wrong with this key following another one in the same object, if anything.
    fn fault_after(self, previous: Self) -> Option<Fault> {
        let order = if self.escaped || previous.escaped {
            key::compare_escaped(previous.raw, self.raw)
        } else {
            key::compare(previous.raw, self.raw)
        };
        match order {
            Ordering::Less => None,
            Ordering::Equal => Some(Fault::DuplicateKey),
            Ordering::Greater => Some(Fault::KeyOrder),
        }
    }
}
