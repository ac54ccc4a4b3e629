//! What the generator knows of the specification once the profile has accepted it.
//!
//! Every output is a pure function of this model. It can express exactly what every output can render, so that no
//! emitter has a case it must skip or guess.

use std::collections::BTreeMap;

use crate::bundle::Place;

/// All types of the specification, by name.
#[derive(Debug, Default)]
pub struct Model {
    /// Each type under its name, which is unique over the specification.
    pub types: BTreeMap<String, Type>,
}

/// One named type.
#[derive(Debug)]
pub struct Type {
    /// Its name, in Pascal case.
    pub name: String,
    /// What it means, as its schema says.
    pub doc: String,
    /// The schema that declares it.
    pub place: Place,
    /// What values it has.
    pub kind: Kind,
}

/// What values a named type has.
#[derive(Debug)]
pub enum Kind {
    /// A closed object.
    Struct(Struct),
    /// One of several closed objects, told apart by a tag.
    Union(Union),
    /// One of a few fixed strings.
    Enum(Vec<String>),
    /// A string that obeys a rule.
    Text(Text),
    /// A string whose decoded form is a type of `chio-json`.
    Native(Native),
}

/// A closed object.
#[derive(Debug)]
pub struct Struct {
    /// The fields in the order of their names, which is the canonical order; a tag is not among them.
    pub fields: Vec<Field>,
    /// The tag, for an object that is one branch of a union.
    pub tag: Option<Tag>,
    /// Whether it carries its own signature, so that whoever refers to it must keep its text.
    pub signed: bool,
}

/// The member that tells a union's branch from its siblings.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Name of the member.
    pub key: String,
    /// Its fixed value in this branch.
    pub value: String,
    /// What the member means, as its schema says.
    pub doc: String,
    /// The union that the branch belongs to.
    pub union: String,
}

/// One of several closed objects, told apart by a tag.
#[derive(Debug)]
pub struct Union {
    /// Name of the member that tells the branches apart.
    pub tag: String,
    /// Name of the one member that carries everything else, where the union is of that kind.
    pub content: Option<String>,
    /// The branches in the order of the schema.
    pub variants: Vec<Variant>,
}

/// One branch of a union.
#[derive(Debug)]
pub struct Variant {
    /// The tag's value.
    pub tag: String,
    /// The name of the type that declares the branch.
    pub body: String,
}

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its name on the wire.
    pub name: String,
    /// What it means, as its schema says.
    pub doc: String,
    /// What values it has.
    pub shape: Shape,
    /// Whether it may be absent or null.
    pub presence: Presence,
}

/// Whether a field may be absent or null. No field may be both: the difference would be lost in most languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is always there and holds a value.
    Required,
    /// It may be absent; when it is there it holds a value.
    Optional,
    /// It is always there and may be null.
    Nullable,
}

/// What values a field, an array's item or a union's content has.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Values of a named type.
    Named(String),
    /// Values of a named type that carries its own signature: their text is kept.
    Signed(String),
    /// Any JSON value, kept as text.
    Opaque,
    /// `true` or `false`.
    Boolean,
    /// An integer within bounds, both included.
    Integer {
        /// The least value.
        min: u64,
        /// The greatest value, 2^53 − 1 at most.
        max: u64,
    },
    /// Any string.
    String,
    /// An array.
    Array {
        /// What each item is.
        items: Box<Shape>,
        /// How many there are.
        length: Length,
    },
}

/// How many items an array has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Any number of items.
    Any,
    /// At least one item.
    NonEmpty,
    /// Exactly so many items.
    Exactly(u64),
}

/// The rule that a constrained string obeys.
#[derive(Debug)]
pub struct Text {
    /// The least number of characters.
    pub min_length: Option<u64>,
    /// The greatest number of characters.
    pub max_length: Option<u64>,
    /// An anchored ECMA-262 pattern.
    pub pattern: Option<String>,
}

/// A string whose decoded form is a type of `chio-json`.
#[derive(Debug)]
pub struct Native {
    /// The name of that type.
    pub rust: String,
}

/// The types of `chio-json` that a schema may name in `x-chio-rust`, each with the pattern it stands for.
pub const NATIVES: &[(&str, &str)] = &[
    ("MerkleHash", "^0x[0-9a-f]{64}$"),
    ("PublicKeyHex", "^[0-9a-f]{64}$"),
    ("Sha256Hex", "^[0-9a-f]{64}$"),
    ("SignatureHex", "^[0-9a-f]{128}$"),
];

impl Model {
    /// The object that a branch of a union is.
    #[must_use]
    pub fn body(&self, variant: &Variant) -> Option<&Struct> {
        match &self.types.get(&variant.body)?.kind {
            Kind::Struct(body) => Some(body),
            _ => None,
        }
    }

    /// Whether a type with this tag and these fields is a struct of its own in languages that leave the tag to the
    /// union: a branch without fields is only a name, and content beside a tag is the content's own type.
    #[must_use]
    pub fn is_standalone(&self, object: &Struct) -> bool {
        match &object.tag {
            None => true,
            Some(tag) => !object.fields.is_empty() && !self.has_content(&tag.union),
        }
    }

    fn has_content(&self, union: &str) -> bool {
        matches!(
            self.types.get(union).map(|found| &found.kind),
            Some(Kind::Union(Union { content: Some(_), .. }))
        )
    }
}

impl Shape {
    /// Whether values of this shape are kept as text instead of being decoded.
    #[must_use]
    pub fn keeps_text(&self) -> bool {
        match self {
            Self::Opaque | Self::Signed(_) => true,
            Self::Array { items, .. } => items.keeps_text(),
            Self::Named(_) | Self::Boolean | Self::Integer { .. } | Self::String => false,
        }
    }
}

/// The largest integer that every JSON implementation keeps exactly: 2^53 − 1.
pub const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;

/// Turns a wire name into Pascal case: `tool_call_request` into `ToolCallRequest`.
#[must_use]
pub fn pascal(name: &str) -> String {
    let mut out = String::new();
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}
