//! `chio receipt tail`: the log as it grows, whichever process writes it.

use std::time::Duration;

use chio_store::{Query, SqliteStore, Store};
use clap::Args;

use super::{Filter, row};
use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::output::Output;
use crate::cli::words::Table;
use crate::cli::{shutdown, store};

/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    filter: Filter,
    /// Begin with the newest N
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: usize,
    /// End with the newest receipt instead of waiting for more
    #[arg(long)]
    no_follow: bool,
    /// Print the signed receipts, whole, one on a line
    #[arg(long)]
    json: bool,
}

/// What was shown so far.
#[derive(Debug, Default)]
struct Shown {
    out: Output,
    table: Table,
}

impl Tail {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        store::wait(async {
            let stop = shutdown::requested()?;
            tokio::select! {
                ended = self.follow(home) => ended,
                () = stop.cancelled() => Ok(Answer::Yes),
            }
        })
    }

    async fn follow(&self, home: &Home) -> Result<Answer, Failure> {
        let mut shown = Shown::default();
        let Some(store) = self.store(home).await? else { return Ok(Answer::Yes) };
        // Of what is there by now only the newest few are shown, of what comes later everything.
        let mut seen = store.head().await.map_err(store::explain)?.size;
        let newest = Query { newest: Some(self.lines), ..self.filter.query() };
        self.print(&store, newest, seen, &mut shown).await?;
        while !self.no_follow && !shown.out.is_closed() {
            tokio::time::sleep(INTERVAL).await;
            let news = Query { after_seq: Some(seen), ..self.filter.query() };
            if let Some(last) = self.print(&store, news, u64::MAX, &mut shown).await? {
                seen = last;
            }
        }
        Ok(Answer::Yes)
    }

    /// The store, waited for when there is none yet.
    async fn store(&self, home: &Home) -> Result<Option<SqliteStore>, Failure> {
        let mut announced = false;
        loop {
            if let Some(store) = store::open_existing(home)? {
                return Ok(Some(store));
            }
            if self.no_follow {
                return Ok(None);
            }
            if !announced {
                eprintln!("waiting for the first receipt in {}", home.path()?.display());
                announced = true;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Prints what matches up to the receipt number `last`, and tells the number of the last one printed.
    async fn print(
        &self,
        store: &SqliteStore,
        query: Query,
        last: u64,
        shown: &mut Shown,
    ) -> Result<Option<u64>, Failure> {
        let mut found = store.receipts(query).await.map_err(store::explain)?;
        found.retain(|receipt| receipt.seq <= last);
        if self.json {
            for receipt in &found {
                shown.out.line(&receipt.text)?;
            }
        } else {
            let rows: Vec<_> = found.iter().map(|receipt| row(&receipt.text, &shown.out)).collect();
            for line in shown.table.lines(&rows) {
                shown.out.line(line)?;
            }
        }
        Ok(found.last().map(|receipt| receipt.seq))
    }
}
