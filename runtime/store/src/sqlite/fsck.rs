//! The complete examination. It goes on after a finding, so that one run names everything that is wrong.

use std::collections::BTreeMap;
use std::path::Path;

use chio_core::hash::sha256;
use chio_core::merkle::Frontier;
use chio_json::{Sha256Hex, Signed};
use chio_spec::CapabilityToken;
use rusqlite::Connection;

use super::state::StateRow;
use super::{limits, nodes, reads, recovery};
use crate::error::StoreError;
use crate::log::{CheckpointVerifier, FsckReport, StoredCheckpoint};

/// More findings than this say nothing new.
const FINDINGS: usize = 100;

/// Examines one snapshot of the database.
pub(super) fn examine(
    connection: &Connection,
    verify: &CheckpointVerifier,
) -> Result<FsckReport, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let row = StateRow::read(&snapshot)?;
    let mut examination = Examination { connection: &snapshot, row, report: FsckReport::default() };
    examination.pages()?;
    examination.log(verify)?;
    examination.intents_and_budgets()?;
    examination.tokens()?;
    examination.counters()?;
    Ok(examination.report)
}

/// What there is to say about a database without tables. A live database that was copied alone looks like this, because
/// all it holds may still be in the log beside it.
pub(super) fn nothing_to_examine(dir: &Path) -> FsckReport {
    let problem = format!(
        "the database in {} holds nothing: it was never used, or copied without its chio.db-wal; put both files back",
        dir.display()
    );
    FsckReport { problems: vec![problem], ..FsckReport::default() }
}

/// Adds what the files outside the database have to say.
pub(super) fn examine_witnesses(connection: &Connection, dir: &Path, report: &mut FsckReport) {
    match super::open::read_witnesses(dir) {
        Ok(super::open::Witnesses { head: Some((_, head)), anchor: Some(anchor) }) => {
            if let Err(error) = recovery::verify(connection, dir, &head, &anchor) {
                report.problems.push(error.to_string());
            }
        }
        Ok(_) => {
            report.problems.push(format!("the head file or the anchor file is missing in {}", dir.display()));
        }
        Err(error) => report.problems.push(error.to_string()),
    }
}

struct Examination<'a> {
    connection: &'a Connection,
    row: StateRow,
    report: FsckReport,
}

impl Examination<'_> {
    fn problem(&mut self, text: String) {
        if self.report.problems.len() < FINDINGS {
            self.report.problems.push(text);
        }
    }

    /// SQLite's own examination: pages, indices, constraints.
    fn pages(&mut self) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check")?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        for line in lines.into_iter().filter(|line| line != "ok") {
            self.problem(format!("SQLite: {line}"));
        }
        Ok(())
    }

    /// Every receipt, node and checkpoint, in one pass over the log.
    fn log(&mut self, verify: &CheckpointVerifier) -> Result<(), StoreError> {
        let checkpoints = reads::checkpoints(self.connection)?;
        let mut due = checkpoints.iter().peekable();
        let mut tree = Frontier::new();
        let mut receipts = self.connection.prepare("SELECT leaf, text FROM receipts ORDER BY leaf")?;
        let mut receipts = receipts.query([])?;
        let mut stored = self.connection.prepare("SELECT position, hash FROM nodes ORDER BY position")?;
        let mut stored = stored.query([])?;
        while let Some(receipt) = receipts.next()? {
            let leaf: u64 = receipt.get(0)?;
            if leaf != tree.size() {
                self.problem(format!(
                    "receipt {} is missing; the log cannot be followed further",
                    tree.size() + 1
                ));
                return Ok(());
            }
            for (id, hash) in recovery::append(&mut tree, receipt.get_ref(1)?.as_bytes().unwrap_or_default())?
            {
                let node = match stored.next()? {
                    Some(node) => Some((node.get::<_, u64>(0)?, node.get::<_, [u8; 32]>(1)?)),
                    None => None,
                };
                if node != Some((nodes::position(id), *hash.as_bytes())) {
                    self.problem(format!(
                        "receipt {} does not lead to the stored node {} at level {}; the log cannot be followed further",
                        leaf + 1,
                        id.index,
                        id.level
                    ));
                    return Ok(());
                }
                self.report.nodes += 1;
            }
            self.report.receipts += 1;
            while let Some(checkpoint) = due.next_if(|checkpoint| checkpoint.tree_size == tree.size()) {
                if checkpoint.root != tree.root() {
                    self.problem(format!("checkpoint {} has another root than its receipts", checkpoint.seq));
                }
            }
        }
        if stored.next()?.is_some() {
            self.problem("there are more tree nodes than receipts lead to".to_owned());
        }
        if let Some(checkpoint) = due.next() {
            self.problem(format!("checkpoint {} covers a size the log never had", checkpoint.seq));
        }
        if tree.root() != self.row.root {
            self.problem("the receipts do not lead to the stored root".to_owned());
        }
        self.report.root = Some(tree.root());
        self.chain(&checkpoints, verify);
        Ok(())
    }

    fn chain(&mut self, checkpoints: &[StoredCheckpoint], verify: &CheckpointVerifier) {
        let mut previous: Option<&StoredCheckpoint> = None;
        for checkpoint in checkpoints {
            let (seq, size) = previous.map_or((0, 0), |previous| (previous.seq, previous.tree_size));
            if checkpoint.seq != seq + 1 || checkpoint.tree_size <= size {
                self.problem(format!("checkpoint {} does not follow checkpoint {seq}", checkpoint.seq));
            }
            if let Err(reason) = verify(checkpoint, previous) {
                self.problem(format!("checkpoint {}: {reason}", checkpoint.seq));
            }
            self.report.checkpoints += 1;
            previous = Some(checkpoint);
        }
    }

    /// Every open intent can be read, and its charges are still reserved.
    fn intents_and_budgets(&mut self) -> Result<(), StoreError> {
        let mut reserved: BTreeMap<(String, u32), u64> = BTreeMap::new();
        let mut intents = self.connection.prepare("SELECT id, charges FROM intents ORDER BY id")?;
        let mut intents = intents.query([])?;
        while let Some(intent) = intents.next()? {
            let id: u64 = intent.get(0)?;
            self.report.open_intents += 1;
            if id >= self.row.next_intent {
                self.problem(format!("intent {id} has a number that was never given out"));
            }
            match limits::charges_from_text(intent.get_ref(1)?.as_str().unwrap_or_default()) {
                Ok(charges) => {
                    for charge in charges {
                        *reserved.entry(charge).or_default() += 1;
                    }
                }
                Err(error) => self.problem(format!("the charges of intent {id} cannot be read: {error}")),
            }
        }
        for ((capability_id, grant_index), expected) in reserved {
            let found = reads::budget(self.connection, &capability_id, grant_index)?.reserved;
            if found < expected {
                self.problem(format!(
                    "open intents reserve {expected} invocations of grant {grant_index} of {capability_id}, \
                     the budget counts {found}"
                ));
            }
        }
        Ok(())
    }

    fn tokens(&mut self) -> Result<(), StoreError> {
        let mut tokens = self.connection.prepare("SELECT id, digest, text FROM tokens")?;
        let mut tokens = tokens.query([])?;
        while let Some(token) = tokens.next()? {
            let text = token.get_ref(2)?.as_str().unwrap_or_default();
            let signed = Signed::<CapabilityToken>::from_text(text.to_owned());
            let input = signed.and_then(|signed| signed.signing_input()).ok();
            if input.map(|input| sha256(input.as_bytes())) != Some(Sha256Hex::from_bytes(token.get(1)?)) {
                let id: String = token.get(0)?;
                self.problem(format!("the text of capability {id} is not the one its id was bound to"));
            }
        }
        Ok(())
    }

    fn counters(&mut self) -> Result<(), StoreError> {
        let count = |sql: &str| -> Result<u64, StoreError> {
            Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
        };
        let receipts = count("SELECT count(*) FROM receipts")?;
        let nonces = count("SELECT count(*) FROM nonces")?;
        let revocations = count("SELECT count(*) FROM revocations")?;
        let last_revocation = count("SELECT coalesce(max(seq), 0) FROM revocations")?;
        let row = self.row;
        self.report.revocations = revocations;
        if row.size != receipts {
            self.problem(format!("{} receipts are counted, {receipts} are stored", row.size));
        }
        if row.nonces != nonces {
            self.problem(format!("{} nonces are counted, {nonces} are stored", row.nonces));
        }
        if row.revocations != revocations || row.revocations != last_revocation {
            self.problem(format!("{} revocations are counted, {revocations} are stored", row.revocations));
        }
        Ok(())
    }
}
