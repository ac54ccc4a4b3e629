//! The medians, each beside the direct path of the same round.

use crate::load::Measured;
use crate::memory::Memory;

/// One path at one concurrency.
pub(crate) struct Row {
    name: &'static str,
    concurrency: usize,
    /// Memory before the first measurement, in KiB.
    idle: u64,
    rounds: Vec<Measured>,
}

impl Row {
    pub(crate) fn new(name: &'static str, concurrency: usize, idle: u64) -> Row {
        Row { name, concurrency, idle, rounds: Vec::new() }
    }

    pub(crate) fn add(&mut self, measured: Measured) {
        self.rounds.push(measured);
    }

    fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }

    /// The share of the direct path's rate: of each round, so that what else the machine did in that round does not
    /// count; then the median.
    fn share(&self, direct: &Row) -> f64 {
        median(self.rounds.iter().zip(&direct.rounds).map(|(ours, limit)| ours.rate / limit.rate).collect())
    }
}

/// Prints everything that was found.
pub(crate) fn print(rows: &[Row], memory: &Memory, skipped: &[String]) {
    println!(
        "\n{:<26} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "path", "in flight", "requests/s", "of direct", "p50 ms", "p99 ms", "idle MiB"
    );
    let mut direct = None;
    for row in rows {
        // The direct path comes first of every group.
        if direct.is_none_or(|direct: &Row| direct.concurrency != row.concurrency) {
            direct = Some(row);
        }
        println!(
            "{:<26} {:>9} {:>10.0} {:>10.3} {:>10.3} {:>10.3} {:>10.1}",
            row.name,
            row.concurrency,
            row.median(|found| found.rate),
            direct.map_or(1.0, |direct| row.share(direct)),
            row.median(|found| found.p50) * 1e3,
            row.median(|found| found.p99) * 1e3,
            mebibytes(row.idle),
        );
    }
    for name in skipped {
        println!("SKIPPED: {name}, because it could not be installed");
    }
    println!(
        "\nmemory of the edge: {:.1} MiB idle; {:.1} KiB for a session, {:.1} KiB for one with an open stream",
        mebibytes(memory.idle),
        memory.session,
        memory.streaming,
    );
}

fn mebibytes(kibibytes: u64) -> f64 {
    f64::from(u32::try_from(kibibytes).expect("an amount of memory")) / 1024.0
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
