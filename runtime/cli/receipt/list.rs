//! `chio receipt list`.

use chio_store::{Query, Store, StoredReceipt};
use clap::Args;

use super::{Filter, row};
use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::output::Output;
use crate::cli::store;
use crate::cli::words::Table;

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Only the newest N
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print an array of the signed receipts, whole
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let query = Query { newest: self.limit, ..self.filter.query() };
        let found = match store::open_existing(home)? {
            Some(store) => store::wait(async { store.receipts(query).await.map_err(store::explain) })?,
            None => Vec::new(),
        };
        let mut out = Output::new();
        if self.json {
            out.text(&array(&found))?;
        } else if found.is_empty() {
            eprintln!("no receipts match; a call through `chio wrap` leaves one");
        } else {
            let rows: Vec<_> = found.iter().map(|receipt| row(&receipt.text, &out)).collect();
            for line in Table::default().lines(&rows) {
                out.line(line)?;
            }
        }
        Ok(Answer::Yes)
    }
}

/// The receipts as a JSON array, each exactly as it was signed, one on a line.
fn array(receipts: &[StoredReceipt]) -> String {
    let texts: Vec<&str> = receipts.iter().map(|receipt| receipt.text.as_str()).collect();
    if texts.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", texts.join(",\n")) }
}
