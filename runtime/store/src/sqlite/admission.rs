//! The first durable batch of a call: look again, then take everything or nothing.

use chio_json::Sha256Hex;
use rusqlite::OptionalExtension;

use super::batch::{Batch, Fault, Request};
use super::limits;
use crate::call::{Admission, AdmissionOutcome, Charge, NonceClaim, Refusal, Ticket, Token};
use crate::error::StoreError;

/// How many expired nonces one transaction removes at most. More than a transaction adds, so the table shrinks back
/// after a burst, and few enough that nobody waits for it.
const SWEEP: u32 = 2_048;

impl Request for Admission {
    type Answer = AdmissionOutcome;

    fn apply(self, batch: &mut Batch<'_>) -> Result<AdmissionOutcome, Fault> {
        if let Some(refusal) = batch.standing_refusal(&self) {
            return Ok(AdmissionOutcome::Refused(refusal));
        }
        let unbound = match batch.unbound(&self)? {
            Ok(unbound) => unbound,
            Err(refusal) => return Ok(AdmissionOutcome::Refused(refusal)),
        };
        if let Some(claim) = &self.nonce
            && let Some(refusal) = batch.nonce_refusal(claim, self.now)?
        {
            return Ok(AdmissionOutcome::Refused(refusal));
        }
        if let Some(refusal) = batch.budget_refusal(&self.charges)? {
            return Ok(AdmissionOutcome::Refused(refusal));
        }

        // From here on nothing is refused any more.
        for token in unbound {
            batch.bind(token)?;
        }
        if let Some(claim) = &self.nonce {
            batch.claim(claim)?;
        }
        for charge in &self.charges {
            batch.reserve(charge)?;
        }
        let charges: Vec<(String, u32)> =
            self.charges.into_iter().map(|charge| (charge.capability_id, charge.grant_index)).collect();
        let intent = match self.intent {
            Some(context) => Some(batch.open_intent(&context, &charges, self.now)?),
            None => None,
        };
        Ok(AdmissionOutcome::Admitted(Ticket { intent, charges }))
    }

    /// A tool that changes nothing, called without a budget: only a token that is new is written down.
    fn only_looks(&self) -> bool {
        self.intent.is_none() && self.charges.is_empty() && self.nonce.is_none()
    }

    fn bytes(&self) -> usize {
        let tokens = self.ancestors.iter().map(|token| token.text.len()).sum::<usize>();
        tokens + self.token.text.len() + self.intent.as_ref().map_or(0, String::len)
    }

    fn check(&self) -> Result<(), StoreError> {
        limits::integer("clock", self.now)?;
        limits::text("intent", self.intent.as_deref().unwrap_or_default())?;
        for token in std::iter::once(&self.token).chain(&self.ancestors) {
            limits::text("capability id", &token.id)?;
            limits::text("capability", &token.text)?;
        }
        for agent in &self.agents {
            limits::text("agent", agent)?;
        }
        for charge in &self.charges {
            limits::text("capability id", &charge.capability_id)?;
        }
        if let Some(claim) = &self.nonce {
            limits::text("nonce", &claim.nonce)?;
            limits::integer("nonce's expiry", claim.keep_until)?;
        }
        Ok(())
    }
}

impl Batch<'_> {
    /// Stop and revocation: what holds for every call of this agent or with this token.
    fn standing_refusal(&self, admission: &Admission) -> Option<Refusal> {
        let stops = self.stops();
        if stops.everything.is_some() {
            return Some(Refusal::Stopped { agent: None });
        }
        if let Some(agent) = admission.agents.iter().find(|agent| stops.agents.contains_key(*agent)) {
            return Some(Refusal::Stopped { agent: Some(agent.clone()) });
        }
        std::iter::once(&admission.token)
            .chain(&admission.ancestors)
            .find(|token| self.is_revoked(&token.id))
            .map(|token| Refusal::Revoked { id: token.id.clone() })
    }

    /// The tokens whose ids are seen for the first time, or the refusal when an id belongs to another token.
    fn unbound<'t>(&self, admission: &'t Admission) -> Result<Result<Vec<&'t Token>, Refusal>, StoreError> {
        let mut unbound: Vec<&Token> = Vec::new();
        for token in std::iter::once(&admission.token).chain(&admission.ancestors) {
            let bound = match unbound.iter().find(|other| other.id == token.id) {
                Some(other) => Some(other.digest),
                None => self.digest_of(&token.id)?,
            };
            match bound {
                None => unbound.push(token),
                Some(digest) if digest == token.digest => {}
                Some(_) => return Ok(Err(Refusal::IdRebound { id: token.id.clone() })),
            }
        }
        Ok(Ok(unbound))
    }

    fn digest_of(&self, id: &str) -> Result<Option<Sha256Hex>, StoreError> {
        if let Some(digest) = self.context.bindings.get(id) {
            return Ok(Some(*digest));
        }
        let digest: Option<[u8; 32]> = self
            .connection
            .prepare_cached("SELECT digest FROM tokens WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        Ok(digest.map(Sha256Hex::from_bytes))
    }

    fn bind(&mut self, token: &Token) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO tokens (id, digest, text) VALUES (?1, ?2, ?3)")?
            .execute((&token.id, token.digest.as_bytes(), &token.text))?;
        self.changes.dirty = true;
        self.changes.bound.push((token.id.clone(), token.digest));
        Ok(())
    }

    fn nonce_refusal(&mut self, claim: &NonceClaim, now: u64) -> Result<Option<Refusal>, StoreError> {
        self.sweep(now)?;
        match self.kept_until(claim)? {
            Some(kept_until) if kept_until >= now => Ok(Some(Refusal::Replay)),
            Some(_) => Ok(None),
            None if self.state.row.nonces >= self.context.nonce_capacity => Ok(Some(Refusal::NonceTableFull)),
            None => Ok(None),
        }
    }

    fn kept_until(&self, claim: &NonceClaim) -> Result<Option<u64>, StoreError> {
        let kept_until = self
            .connection
            .prepare_cached("SELECT keep_until FROM nonces WHERE key = ?1 AND nonce = ?2")?
            .query_row((claim.key.as_bytes(), &claim.nonce), |row| row.get(0))
            .optional()?;
        Ok(kept_until)
    }

    fn claim(&mut self, claim: &NonceClaim) -> Result<(), StoreError> {
        let renewed = self.kept_until(claim)?.is_some();
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO nonces (key, nonce, keep_until) VALUES (?1, ?2, ?3)")?
            .execute((claim.key.as_bytes(), &claim.nonce, claim.keep_until))?;
        self.changes.dirty = true;
        self.state.row.nonces += u64::from(!renewed);
        Ok(())
    }

    /// Removes expired nonces, once per transaction.
    fn sweep(&mut self, now: u64) -> Result<(), StoreError> {
        if self.changes.swept {
            return Ok(());
        }
        self.changes.swept = true;
        let removed = self
            .connection
            .prepare_cached(
                "DELETE FROM nonces WHERE (key, nonce) IN
                 (SELECT key, nonce FROM nonces WHERE keep_until < ?1 ORDER BY keep_until LIMIT ?2)",
            )?
            .execute((now, SWEEP))?;
        if removed > 0 {
            self.changes.dirty = true;
            self.state.row.nonces = self.state.row.nonces.saturating_sub(removed as u64);
        }
        Ok(())
    }

    fn budget_refusal(&self, charges: &[Charge]) -> Result<Option<Refusal>, StoreError> {
        for (index, charge) in charges.iter().enumerate() {
            let used: Option<u64> = self
                .connection
                .prepare_cached(
                    "SELECT settled + reserved FROM budgets WHERE capability_id = ?1 AND grant_index = ?2",
                )?
                .query_row((&charge.capability_id, charge.grant_index), |row| row.get(0))
                .optional()?;
            // The same grant may be named twice; each time costs one.
            let before = charges
                .iter()
                .take(index)
                .filter(|other| {
                    other.capability_id == charge.capability_id && other.grant_index == charge.grant_index
                })
                .count();
            if used.unwrap_or(0).saturating_add(before as u64) >= charge.limit {
                return Ok(Some(Refusal::BudgetExhausted {
                    capability_id: charge.capability_id.clone(),
                    grant_index: charge.grant_index,
                    limit: charge.limit,
                }));
            }
        }
        Ok(None)
    }

    fn reserve(&mut self, charge: &Charge) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO budgets (capability_id, grant_index, settled, reserved) VALUES (?1, ?2, 0, 1)
                 ON CONFLICT (capability_id, grant_index) DO UPDATE SET reserved = reserved + 1",
            )?
            .execute((&charge.capability_id, charge.grant_index))?;
        self.changes.dirty = true;
        Ok(())
    }

    fn open_intent(&mut self, context: &str, charges: &[(String, u32)], now: u64) -> Result<u64, StoreError> {
        let id = self.state.row.next_intent;
        self.connection
            .prepare_cached(
                "INSERT INTO intents (id, instance, admitted_at, charges, context) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((id, self.context.instance.as_bytes(), now, limits::charges_to_text(charges), context))?;
        self.changes.dirty = true;
        self.state.row.next_intent += 1;
        Ok(id)
    }
}
