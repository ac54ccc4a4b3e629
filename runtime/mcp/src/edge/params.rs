//! The parameters of a request, taken apart.

use std::sync::Arc;

use chio_json::{Json, Signed};
use chio_spec::{CapabilityToken, DpopProof, ModelMetadata, ToolName};
use serde_json::value::RawValue;

use crate::jsonrpc::{ErrorObject, INVALID_PARAMS, Members};
use crate::session::Incoming;

/// The member of a request's `_meta` that presents a capability.
pub const CAPABILITY_KEY: &str = "chio.dev/capability";
/// The member of a request's `_meta` with the capabilities that the presented one was delegated from, root first.
pub const ANCESTORS_KEY: &str = "chio.dev/ancestors";
/// The member of a request's `_meta` with the proof of possession of the presented capability's key.
pub const DPOP_PROOF_KEY: &str = "chio.dev/dpopProof";

/// The member of `_meta` that says to which task a message belongs.
pub(super) const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// What starts the names that are ours in `_meta`.
pub(super) const OURS: &str = "chio.dev/";

/// The two names under which a caller says what model is behind it.
const MODEL_KEYS: [&str; 2] = ["modelMetadata", "chioModelMetadata"];

/// Most ancestors that a request can carry; policies allow far shorter chains.
const MOST_ANCESTORS: usize = 64;

/// The parameters of one request.
pub(super) struct Params<'a> {
    pub(super) members: Members<'a>,
}

impl<'a> Params<'a> {
    pub(super) fn of(request: &'a Incoming) -> Result<Self, ErrorObject> {
        let text = request.params.as_ref().map_or("{}", Json::get);
        let members = Members::parse(text).map_err(|error| invalid(&format!("the parameters: {error}")))?;
        Ok(Self { members })
    }

    pub(super) fn string(&self, key: &str) -> Result<String, ErrorObject> {
        self.members.string(key).ok_or_else(|| invalid(&format!("`{key}` must be a string")))
    }

    /// The object of that name, or an empty one where it is absent.
    pub(super) fn object(&self, key: &str) -> Result<Json, ErrorObject> {
        let text = self.members.get(key).unwrap_or("{}");
        if !text.starts_with('{') {
            return Err(invalid(&format!("`{key}` must be an object")));
        }
        Json::from_text(text.to_owned()).map_err(|error| invalid(&format!("`{key}`: {error}")))
    }

    /// The cursor of a list, where there is one.
    pub(super) fn cursor(&self) -> Result<Option<String>, ErrorObject> {
        match self.members.get("cursor") {
            None | Some("null") => Ok(None),
            Some(_) => self.string("cursor").map(Some),
        }
    }

    /// The parameters that are the action: the receipt keeps them, and the server gets them and no others.
    pub(super) fn only(&self, keys: &[&str]) -> Members<'a> {
        let mut members = self.members.clone();
        members.retain(|key| keys.contains(&key));
        members
    }

    /// What the caller says beside the action.
    pub(super) fn meta(&self) -> Result<Meta, ErrorObject> {
        Meta::read(self.members.get("_meta").unwrap_or("{}"))
    }
}

/// A capability that the caller presents instead of the one it is given by default.
#[derive(Clone, Debug)]
pub(super) struct Presented {
    pub(super) capability: Signed<CapabilityToken>,
    pub(super) ancestors: Vec<Signed<CapabilityToken>>,
    pub(super) dpop_proof: Option<DpopProof>,
}

/// The `_meta` of a request: what it says to us, and what travels on.
#[derive(Clone, Debug, Default)]
pub(super) struct Meta {
    pub(super) presented: Option<Arc<Presented>>,
    pub(super) model: Option<ModelMetadata>,
    /// The client's progress token, as JSON text.
    pub(super) progress_token: Option<String>,
    /// The `_meta` for the server: without what is ours, and without tokens and task ids, which mean nothing to it
    /// or, worse, something else.
    pub(super) forward: String,
}

impl Meta {
    fn read(text: &str) -> Result<Self, ErrorObject> {
        let mut members = Members::parse(text).map_err(|error| invalid(&format!("`_meta`: {error}")))?;
        let presented = presented(&members)?.map(Arc::new);
        let model = model(&mut members)?;
        let progress_token = members.remove("progressToken").map(std::borrow::Cow::into_owned);
        if progress_token.as_deref().is_some_and(|token| !is_token(token)) {
            return Err(invalid("`_meta.progressToken` must be a string or an integer"));
        }
        members.retain(|key| !key.starts_with(OURS) && key != RELATED_TASK);
        Ok(Self { presented, model, progress_token, forward: members.to_text() })
    }
}

fn is_token(text: &str) -> bool {
    crate::jsonrpc::Id::from_json(text).is_ok()
}

fn presented(members: &Members<'_>) -> Result<Option<Presented>, ErrorObject> {
    let Some(capability) = members.get(CAPABILITY_KEY) else {
        return match [ANCESTORS_KEY, DPOP_PROOF_KEY].into_iter().find(|key| members.get(key).is_some()) {
            Some(key) => {
                Err(invalid(&format!("`_meta` holds {key} without {CAPABILITY_KEY}, which it belongs to")))
            }
            None => Ok(None),
        };
    };
    let capability = token(capability, CAPABILITY_KEY)?;
    let ancestors = match members.get(ANCESTORS_KEY) {
        None => Vec::new(),
        Some(text) => {
            let entries: Vec<&RawValue> = serde_json::from_str(text)
                .map_err(|_| invalid(&format!("`_meta[\"{ANCESTORS_KEY}\"]` must be an array")))?;
            if entries.len() > MOST_ANCESTORS {
                return Err(invalid(&format!(
                    "`_meta[\"{ANCESTORS_KEY}\"]` holds more than {MOST_ANCESTORS} capabilities"
                )));
            }
            entries.into_iter().map(|entry| token(entry.get(), ANCESTORS_KEY)).collect::<Result<_, _>>()?
        }
    };
    let dpop_proof = members.get(DPOP_PROOF_KEY).map(|text| {
        serde_json::from_str(text)
            .map_err(|error| invalid(&format!("`_meta[\"{DPOP_PROOF_KEY}\"]` is not a proof: {error}")))
    });
    Ok(Some(Presented { capability, ancestors, dpop_proof: dpop_proof.transpose()? }))
}

/// Whether it is a good token is for the kernel to say, in a receipt; here it only has to be an object.
fn token(text: &str, key: &str) -> Result<Signed<CapabilityToken>, ErrorObject> {
    if !text.starts_with('{') {
        return Err(invalid(&format!("`_meta[\"{key}\"]` must hold capability objects")));
    }
    Signed::from_text(text.to_owned()).map_err(|error| invalid(&format!("`_meta[\"{key}\"]`: {error}")))
}

/// What the caller says about its model. What travels on calls itself asserted too, for nothing here has checked
/// more.
fn model(members: &mut Members<'_>) -> Result<Option<ModelMetadata>, ErrorObject> {
    let mut found: Option<(ModelMetadata, &str)> = None;
    for key in MODEL_KEYS {
        let Some(text) = members.get(key) else { continue };
        let model: ModelMetadata = serde_json::from_str(text)
            .map_err(|error| invalid(&format!("`_meta.{key}` does not describe a model: {error}")))?;
        let mut described =
            Members::parse(text).map_err(|error| invalid(&format!("`_meta.{key}`: {error}")))?;
        if described.get("provenance_class").is_some() {
            described.set("provenance_class", r#""asserted""#);
        }
        let described = described.to_text();
        members.set(key, described);
        match &found {
            Some((other, first)) if *other != model => {
                return Err(invalid(&format!("`_meta.{first}` and `_meta.{key}` contradict each other")));
            }
            Some(_) => {}
            None => found = Some((model, key)),
        }
    }
    Ok(found.map(|(model, _)| model))
}

/// The method of a request as grants and receipts name it.
pub(super) fn method(request: &Incoming) -> Result<ToolName, ErrorObject> {
    ToolName::new(request.method.as_str()).map_err(|error| invalid(&error.to_string()))
}

pub(super) fn invalid(text: &str) -> ErrorObject {
    ErrorObject::new(INVALID_PARAMS, text)
}
