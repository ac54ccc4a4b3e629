//! Receipts: the signed record of one decision.
//!
//! A kernel builds a [`ReceiptDraft`] and signs it once; anybody verifies the text years later with nothing
//! but the text. Integrity and origin are told apart: a receipt that verifies under the key it carries was
//! not altered, and only [`trust`] says whether that key belongs to somebody one trusts.

mod action;
mod content;
mod draft;
mod report;

pub use action::action;
pub use content::{StreamHasher, content_hash};
pub use draft::ReceiptDraft;
pub use report::{ReceiptReport, SignerTrust, trust, verify};
