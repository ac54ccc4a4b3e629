//! Keys and signed objects for the vectors, made without the builders under test.

use chio_core::keys::SigningKey;
use chio_json::canonical;
use serde_json::{Value, json};

/// Start of validity of the root tokens, in Unix seconds.
pub(crate) const START: u64 = 1_700_000_000;
/// End of validity of the root tokens.
pub(crate) const END: u64 = 1_700_003_600;
/// A moment in between.
pub(crate) const NOW: u64 = 1_700_000_600;

/// Seed byte of the kernel that signs receipts and checkpoints.
pub(crate) const KERNEL: u8 = 0x07;
/// Seed byte of the authority that issues root tokens.
pub(crate) const AUTHORITY: u8 = 0x0b;
/// Seed byte of the root token's subject; each further holder has the next one.
pub(crate) const HOLDER: u8 = 0x20;
/// Seed byte of somebody who has no part in this.
pub(crate) const STRANGER: u8 = 0x66;

/// The key whose seed is 32 times `byte`.
pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed([byte; 32])
}

/// The public key of that seed.
pub(crate) fn public(byte: u8) -> String {
    key(byte).public().hex().to_string()
}

/// Signs an object by its own `signature` member; `signature` and `algorithm` are never signed.
pub(crate) fn sign(mut object: Value, byte: u8) -> Value {
    let members = object.as_object_mut().unwrap();
    members.remove("signature");
    let algorithm = members.remove("algorithm");
    let signature = signature(&object, byte);
    if let Some(algorithm) = algorithm {
        object["algorithm"] = algorithm;
    }
    object["signature"] = json!(signature);
    object
}

/// The signature over the canonical text of a value.
pub(crate) fn signature(value: &Value, byte: u8) -> String {
    key(byte).sign(text(value).as_bytes()).to_string()
}

/// The canonical text of a value.
pub(crate) fn text(value: &Value) -> String {
    canonical::from_value(value)
}

/// SHA-256 of the canonical text of a value.
pub(crate) fn hash(value: &Value) -> String {
    chio_core::hash::sha256(text(value).as_bytes()).to_string()
}

/// The same object with one place changed: numbers grow by one, texts of hexadecimal digits end in another digit,
/// other texts get a letter more, objects get a member, arrays lose their last item.
pub(crate) fn tampered(object: &Value, pointer: &str) -> Value {
    let mut object = object.clone();
    let place = object.pointer_mut(pointer).unwrap();
    *place = match &*place {
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::String(text) if text.len() >= 64 => {
            let last = if text.ends_with('0') { '1' } else { '0' };
            json!(format!("{}{last}", &text[..text.len() - 1]))
        }
        Value::String(text) => json!(format!("{text}x")),
        Value::Bool(value) => json!(!value),
        Value::Object(members) => {
            let mut members = members.clone();
            members.insert("extra".into(), json!(true));
            Value::Object(members)
        }
        Value::Array(items) => Value::Array(items[..items.len() - 1].to_vec()),
        Value::Null => json!(0),
    };
    object
}

/// The same object without one member.
pub(crate) fn without(object: &Value, member: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(member).unwrap();
    object
}

/// The same object with one member set.
pub(crate) fn with(object: &Value, member: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[member] = value;
    object
}

/// A body of a token.
pub(crate) fn token_body(id: &str, issuer: u8, subject: u8, scope: Value) -> Value {
    json!({
        "expires_at": END,
        "id": id,
        "issued_at": START,
        "issuer": public(issuer),
        "scope": scope,
        "subject": public(subject),
    })
}

/// A grant of one tool, to be used and passed on.
pub(crate) fn grant(server: &str, tool: &str) -> Value {
    json!({
        "operations": ["invoke", "read_result", "delegate"],
        "server_id": server,
        "tool_name": tool,
    })
}

/// A scope of tool grants.
pub(crate) fn tools(grants: &[Value]) -> Value {
    json!({"grants": grants})
}

/// A root token of the authority for the first holder.
pub(crate) fn root(scope: Value) -> Value {
    sign(token_body("cap-root", AUTHORITY, HOLDER, scope), AUTHORITY)
}

/// A child that the holder at `depth` - 1 issues to the holder at `depth`, one minute later and one second shorter than
/// the step before. `edit` may spoil link and body before they are signed.
pub(crate) fn child(
    parent: &Value,
    depth: u8,
    scope: Value,
    edit: impl FnOnce(&mut Value, &mut Value),
) -> Value {
    let (delegator, delegatee) = (HOLDER + depth - 1, HOLDER + depth);
    let time = START + 60 * u64::from(depth);
    let mut link = json!({
        "capability_id": parent["id"],
        "delegatee": public(delegatee),
        "delegator": public(delegator),
        "timestamp": time,
    });
    let mut body = token_body(&format!("cap-{depth}"), delegator, delegatee, scope);
    body["issued_at"] = json!(time);
    body["expires_at"] = json!(END - u64::from(depth));
    edit(&mut link, &mut body);
    let link = if link.get("signature").is_some() { link } else { sign(link, delegator) };
    let mut chain = parent["delegation_chain"].as_array().cloned().unwrap_or_default();
    chain.push(link);
    if body.get("delegation_chain").is_none() {
        body["delegation_chain"] = Value::Array(chain);
    }
    sign(body, delegator)
}

/// A root token and `depth` children that pass the same scope on.
pub(crate) fn chain(depth: u8, scope: &Value) -> Vec<Value> {
    let mut tokens = vec![root(scope.clone())];
    for step in 1..=depth {
        tokens.push(child(tokens.last().unwrap(), step, scope.clone(), |_, _| {}));
    }
    tokens
}
