//! The run: everything started, measured in turns, counted, shown.

use std::fs;

use crate::http::Connection;
use crate::load::{Generator, Measured};
use crate::memory;
use crate::options::{CONCURRENCY, Options};
use crate::paths::{self, Route};
use crate::peers::{self, Peers};
use crate::receipts;
use crate::session::Session;
use crate::table::{self, Row};

pub(crate) fn run() {
    let options = Options::from_environment();
    let generator = Generator::found();
    let upstream = peers::upstream();
    let peers = if options.peers { Peers::install() } else { Peers::none() };

    // Below the build's folder, which is on a disk; a folder for temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (direct, upstream) = paths::direct(upstream, folder.path());
    let mut routes = vec![direct];
    routes.extend(paths::edges(&upstream, folder.path()));
    routes.extend(paths::gateways(&peers, &upstream, folder.path()));
    let mut rows: Vec<Row> = CONCURRENCY
        .iter()
        .flat_map(|&concurrency| {
            routes.iter().map(move |route| Row::new(route.name, concurrency, route.program.resident()))
        })
        .collect();

    println!("load by {generator:?}, store in {}", folder.path().display());
    for round in 1..=options.rounds {
        let mut rows = rows.iter_mut();
        for &concurrency in CONCURRENCY {
            for route in &routes {
                let measured = measured(route, generator, concurrency, &options)
                    .unwrap_or_else(|error| panic!("{}: {error}\n{}", route.name, tail(route)));
                println!(
                    "round {round}, {concurrency:>2} in flight, {:<26} {:>8.0}/s  p50 {:>8.3} ms  p99 {:>8.3} ms  \
                     load {}",
                    route.name,
                    measured.rate,
                    measured.p50 * 1e3,
                    measured.p99 * 1e3,
                    machine_load(),
                );
                rows.next().expect("a row for every measurement").add(measured);
            }
        }
    }

    let memory = memory::measure(&upstream, folder.path());
    let homes: Vec<_> = routes.iter().filter_map(|route| route.home.clone()).collect();
    drop(routes);
    table::print(&rows, &memory, &peers.skipped);
    for home in homes {
        let (all, verified) = (receipts::count(&home), receipts::verify(&home));
        println!("receipts: {all}, one for each request; {verified} of them verified");
    }
}

/// One measurement, in a session of its own; of an edge, with the proof that it wrote down exactly what it answered.
fn measured(
    route: &Route,
    generator: Generator,
    concurrency: usize,
    options: &Options,
) -> Result<Measured, String> {
    let mut connection = Connection::open(route.endpoint.address)?;
    let session = Session::open(&route.endpoint, &mut connection)?;
    session.expect_tool(&mut connection)?;
    let before = route.home.as_deref().map(receipts::count);
    let measured = generator.measure(&session, &route.endpoint, concurrency, options.duration)?;
    if let Some((before, home)) = before.zip(route.home.as_deref()) {
        let written = receipts::count(home) - before;
        if written != measured.answered {
            return Err(format!(
                "{} requests were answered, but {written} receipts written",
                measured.answered
            ));
        }
    }
    // The connection may have been closed meanwhile, for it was idle.
    if let Ok(mut connection) = Connection::open(route.endpoint.address) {
        session.close(&mut connection);
    }
    Ok(measured)
}

/// How many programs wait for a processor, over the last minute.
fn machine_load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The last lines that a program printed.
fn tail(route: &Route) -> String {
    let printed = route.program.printed();
    let lines: Vec<&str> = printed.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
