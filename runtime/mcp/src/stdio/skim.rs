//! Reading whom a message concerns that is too long to keep.
//!
//! A wrapped server may answer with more than a line may hold, and a client may ask with more. Neither can
//! be delivered, but the request in question must fail at once and by name. This follows the text's nesting byte by
//! byte and keeps the top-level `id` only; it is no validation, and a wrong guess merely names a
//! request that is not waiting.

use crate::channel::Concerns;
use crate::jsonrpc::Id;

const LONGEST_KEY: usize = 8;
const LONGEST_ID: usize = 128;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Key,
    Value,
}

/// The state of the scan.
#[derive(Debug, Default)]
pub(super) struct Skim {
    depth: u32,
    in_string: bool,
    escaped: bool,
    place: Place,
    key: Vec<u8>,
    value: Vec<u8>,
    id: Option<Id>,
    has_id: bool,
    has_method: bool,
}

impl Skim {
    /// Takes the next piece of the text.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        for byte in piece {
            self.step(*byte);
        }
    }

    /// Whom the text concerns, by its top-level `id` and whether it has a `method` and so asks.
    pub(super) fn concerns(self) -> Concerns {
        match self.id {
            Some(id) if self.has_method => Concerns::Request(id),
            Some(id) => Concerns::Answer(id),
            None if self.has_method && !self.has_id => Concerns::Nobody,
            None => Concerns::Unknown,
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            if self.depth == 1 {
                self.keep(byte);
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 {
                    self.keep(byte);
                }
            }
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                if self.depth == 1 {
                    self.member_ended();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if self.depth == 1 => self.member_ended(),
            b':' if self.depth == 1 => self.place = Place::Value,
            b' ' | b'\t' | b'\r' => {}
            _ if self.depth == 1 => self.keep(byte),
            _ => {}
        }
    }

    fn keep(&mut self, byte: u8) {
        let (text, limit) = match self.place {
            Place::Key => (&mut self.key, LONGEST_KEY),
            Place::Value => (&mut self.value, LONGEST_ID),
        };
        // One byte more than allowed is kept, so that an overlong text is recognised as such.
        if text.len() <= limit {
            text.push(byte);
        }
    }

    fn member_ended(&mut self) {
        self.has_method |= self.key == br#""method""#;
        if self.key == br#""id""# {
            self.has_id = true;
            let kept = (self.value.len() <= LONGEST_ID).then_some(self.value.as_slice());
            let text = kept.and_then(|value| std::str::from_utf8(value).ok());
            self.id = text.and_then(|text| Id::from_json(text).ok());
        }
        self.key.clear();
        self.value.clear();
        self.place = Place::Key;
    }
}
