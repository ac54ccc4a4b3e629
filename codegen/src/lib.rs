//! Turns `spec/` into `generated/`: Rust types, error codes and constants, Python types, a reference, the schema of
//! the configuration.
//!
//! ```text
//! spec/schemas ─► bundle ─► profile ─► model ─┬─► lower ─► typify ─┬─► rust ─► prettyplease
//!                 names     refusals          │    leaf types      │   unions, constructors, checks
//! spec/errors, spec/versions ─────────────────┼────────────────────┘
//!                                             └─► python, reference
//! ```
//!
//! Every output is a pure function of `spec/`, of the configuration types and of this crate: no time, no absolute
//! path, no order that depends on the machine. The generator never depends on what it generates, so it builds and
//! runs when `generated/` is gone.
//!
//! Without the default feature `generate` only [`freshness`] is left: the root build script needs no more, and people
//! who build `chio` never compile the generator.

mod digest;
mod freshness;
pub use freshness::{Stale, freshness};

#[cfg(feature = "generate")]
pub mod bundle;
#[cfg(feature = "generate")]
mod configuration;
#[cfg(feature = "generate")]
mod lower;
#[cfg(feature = "generate")]
pub mod model;
#[cfg(feature = "generate")]
pub mod negotiation;
#[cfg(feature = "generate")]
pub mod outputs;
#[cfg(feature = "generate")]
pub mod profile;
#[cfg(feature = "generate")]
mod python;
#[cfg(feature = "generate")]
mod reference;
#[cfg(feature = "generate")]
pub mod registry;
#[cfg(feature = "generate")]
pub mod rust;
#[cfg(feature = "generate")]
mod strict;
mod tree;

#[cfg(feature = "generate")]
mod generate {
    use std::collections::BTreeMap;
    use std::path::Path;

    use anyhow::{Context, Result, bail};

    use crate::bundle::{Bundle, Refusal};
    use crate::model::Model;
    use crate::negotiation::Negotiation;
    use crate::outputs::Outputs;
    use crate::registry::Registry;
    use crate::{configuration, profile, python, reference, rust, tree};

    /// Makes every output of the repository at `root`, without writing anything.
    ///
    /// # Errors
    /// Everything in `spec/` that is malformed, contradicts itself or is outside of the profile.
    pub fn generate(root: &Path) -> Result<Outputs> {
        let mut schemas = BTreeMap::new();
        for path in tree::files(&root.join("spec/schemas")).context("reading spec/schemas")? {
            let file = format!("spec/schemas/{path}");
            let text =
                std::fs::read_to_string(root.join(&file)).with_context(|| format!("reading {file}"))?;
            schemas.insert(file, text);
        }
        let model = model(&schemas)?;
        let registry = Registry::read(root, &model)?;
        let negotiation = Negotiation::read(root, &registry)?;

        let mut outputs = Outputs::default();
        rust::emit(&model, &registry, &negotiation, &mut outputs)?;
        python::emit(&model, &registry, &negotiation, &mut outputs)?;
        reference::emit(&model, &registry, &negotiation, &mut outputs)?;
        configuration::emit(&mut outputs)?;
        outputs.add_manifest(root)?;
        Ok(outputs)
    }

    /// Reads the model out of schemas, given by their paths from the repository's root.
    ///
    /// # Errors
    /// A file that is not JSON, and everything that the profile refuses: each place, with the reason.
    pub fn model(schemas: &BTreeMap<String, String>) -> Result<Model> {
        let (bundle, refusals) = Bundle::read(schemas)?;
        refuse(&refusals)?;
        profile::model(&bundle).or_else(|refusals| refuse(&refusals).map(|()| Model::default()))
    }

    fn refuse(refusals: &[Refusal]) -> Result<()> {
        if refusals.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        bail!("the profile refuses the specification:\n  {}", lines.join("\n  "))
    }
}

#[cfg(feature = "generate")]
pub use generate::{generate, model};
