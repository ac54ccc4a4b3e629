//! The load: so many connections, each with one call in flight, for so long; every answer checked.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::Connection;
use crate::options::MOST_REQUESTS;
use crate::paths::Endpoint;
use crate::session::Session;

/// How long answers may be missing after the last request before a run is given up.
const GRACE: Duration = Duration::from_secs(20);

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Requests that were answered, all of them correctly.
    pub(crate) answered: u64,
    /// Answers in a second, from the first request to the last answer.
    pub(crate) rate: f64,
    /// Half of the requests took no longer, in seconds.
    pub(crate) p50: f64,
    /// All but one in a hundred took no longer, in seconds.
    pub(crate) p99: f64,
}

/// What makes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generator {
    Wrk,
    Ours,
}

impl Generator {
    pub(crate) fn found() -> Generator {
        // It has no option that only says its version and succeeds.
        match Command::new("wrk").arg("--version").output() {
            Ok(_) => Generator::Wrk,
            Err(_) => Generator::Ours,
        }
    }

    /// Measures; fails unless every request was answered, and correctly.
    pub(crate) fn measure(
        self,
        session: &Session,
        endpoint: &Endpoint,
        concurrency: usize,
        duration: Duration,
    ) -> Result<Measured, String> {
        match self {
            Generator::Wrk => wrk(session, endpoint, concurrency, duration),
            Generator::Ours => ours(session, endpoint, concurrency, duration),
        }
    }
}

fn wrk(
    session: &Session,
    endpoint: &Endpoint,
    concurrency: usize,
    duration: Duration,
) -> Result<Measured, String> {
    let headers: Vec<String> =
        session.headers().iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let limit = (duration + GRACE).as_secs();
    let mut command = Command::new("wrk");
    command
        .args(["-t1", &format!("-c{concurrency}"), &format!("-d{limit}s"), &format!("--timeout={limit}s")])
        .args(["-s", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/edge/call.lua")])
        .arg(format!("http://{}{}", endpoint.address, endpoint.path))
        .env("CALL_PATH", endpoint.path)
        .env("CALL_TOOL", endpoint.tool)
        .env("CALL_HEADERS", headers.join("\n"))
        .env("CALL_SECONDS", duration.as_secs().to_string())
        .env("CALL_MOST", MOST_REQUESTS.to_string());
    if let Some(mark) = endpoint.mark {
        command.env("CALL_MARK", mark);
    }
    let output = command.output().map_err(|error| format!("starting wrk: {error}"))?;
    let (told, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let result = told.lines().find_map(|line| line.strip_prefix("RESULT ")).and_then(|line| {
        let mut numbers = line.split(' ');
        let mut count = || numbers.next()?.parse::<u64>().ok();
        let (asked, answered, wrong) = (count()?, count()?, count()?);
        let mut seconds = || numbers.next()?.parse::<f64>().ok();
        Some((asked, answered, wrong, seconds()?, seconds()?, seconds()?))
    });
    let Some((asked, answered, wrong, seconds, p50, p99)) = result else {
        return Err(format!("wrk failed: {told}{complaint}"));
    };
    if wrong > 0 || asked != answered {
        return Err(format!("of {asked} requests {answered} were answered, {wrong} wrongly; {complaint}"));
    }
    Ok(Measured { answered, rate: rate(answered, seconds), p50, p99 })
}

/// Who asks what, for the load of our own.
struct Task<'a> {
    session: &'a Session,
    endpoint: &'a Endpoint,
    asked: AtomicU64,
    latencies: Mutex<Vec<f64>>,
    deadline: Instant,
}

fn ours(
    session: &Session,
    endpoint: &Endpoint,
    concurrency: usize,
    duration: Duration,
) -> Result<Measured, String> {
    let connections: Result<Vec<_>, _> =
        (0..concurrency).map(|_| Connection::open(endpoint.address)).collect();
    let start = Instant::now();
    let task = Task {
        session,
        endpoint,
        asked: AtomicU64::new(0),
        latencies: Mutex::default(),
        deadline: start + duration,
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            connections?.into_iter().map(|connection| scope.spawn(|| work(&task, connection))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker"))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let mut latencies = task.latencies.into_inner().unwrap_or_else(PoisonError::into_inner);
    latencies.sort_by(f64::total_cmp);
    let percentile = |hundredths: usize| {
        let index = (latencies.len() * hundredths).div_ceil(100).saturating_sub(1);
        latencies.get(index).copied().unwrap_or_default()
    };
    let answered = u64::try_from(latencies.len()).expect("a count");
    Ok(Measured { answered, rate: rate(answered, seconds), p50: percentile(50), p99: percentile(99) })
}

fn work(task: &Task<'_>, mut connection: Connection) -> Result<(), String> {
    let head = task.session.head("POST");
    let mut latencies = Vec::new();
    while Instant::now() < task.deadline {
        let number = task.asked.fetch_add(1, Ordering::Relaxed);
        if number >= MOST_REQUESTS {
            break;
        }
        let (id, message) = (1000 + number, format!("echo-{number}-payload"));
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": task.endpoint.tool, "arguments": {"message": message}}});
        let asked = Instant::now();
        let response = connection.exchange(&head, &call.to_string())?;
        latencies.push(asked.elapsed().as_secs_f64());
        let body = &response.body;
        let right = response.status == 200
            && body.contains(&format!("\"id\":{id}"))
            && body.contains(&message)
            && !body.contains("\"isError\":true")
            && task.endpoint.mark.is_none_or(|mark| body.contains(mark));
        if !right {
            return Err(format!("a wrong answer to {call}: HTTP {} {body}", response.status));
        }
    }
    task.latencies.lock().unwrap_or_else(PoisonError::into_inner).extend(latencies);
    Ok(())
}

fn rate(answered: u64, seconds: f64) -> f64 {
    // Exact: no measurement has 2^32 answers.
    f64::from(u32::try_from(answered).expect("a count")) / seconds
}
