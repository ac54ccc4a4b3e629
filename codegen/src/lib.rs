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
mod lower;
#[cfg(feature = "generate")]
pub mod model;
#[cfg(feature = "generate")]
mod negotiation;
#[cfg(feature = "generate")]
pub mod outputs;
#[cfg(feature = "generate")]
pub mod profile;
#[cfg(feature = "generate")]
mod registry;
#[cfg(feature = "generate")]
pub mod rust;
#[cfg(feature = "generate")]
mod strict;
mod tree;

#[cfg(feature = "generate")]
mod generate {
    use std::path::Path;

    use anyhow::{Result, bail};

    use crate::bundle::{Bundle, Refusal};
    use crate::model::Model;
    use crate::negotiation::Negotiation;
    use crate::outputs::Outputs;
    use crate::registry::Registry;
    use crate::{profile, rust};

    /// Makes every output of the repository at `root`, without writing anything.
    ///
    /// # Errors
    /// Everything in `spec/` that is malformed, contradicts itself or is outside of the profile.
    pub fn generate(root: &Path) -> Result<Outputs> {
        let (bundle, refusals) = Bundle::read(root)?;
        refuse(&refusals)?;
        let model: Model = profile::model(&bundle).or_else(|refusals| refuse(&refusals).map(|()| Model::default()))?;
        let registry = Registry::read(root, &model)?;
        let negotiation = Negotiation::read(root, &registry)?;

        let mut outputs = Outputs::default();
        rust::emit(&model, &registry, &negotiation, &mut outputs)?;
        Ok(outputs)
    }

    fn refuse(refusals: &[Refusal]) -> Result<()> {
        if refusals.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        bail!("the profile refuses {} places of the specification:\n  {}", lines.len(), lines.join("\n  "))
    }
}

#[cfg(feature = "generate")]
pub use generate::generate;
