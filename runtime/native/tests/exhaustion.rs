//! A process without file descriptors left accepts nobody, waits without spinning, and goes on once it can.
//!
//! In a file of its own: the limit is the whole process's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use chio_native::Client;
use fixture::House;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpSocket;

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

#[tokio::test]
async fn without_descriptors_accepting_pauses_and_resumes() {
    let house = House::open().await;
    let address: SocketAddr = house.host().parse().unwrap();
    let early = house.client().await;
    early.heartbeat().await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    // The system completes the connection; the server cannot accept it.
    let (source, sink) = socket.connect(address).await.unwrap().into_split();
    let late = Client::over(source, sink);
    let before = cpu_time();
    let waiting = tokio::time::timeout(Duration::from_secs(2), late.heartbeat());
    assert!(waiting.await.is_err(), "nobody can be accepted");
    let spent = cpu_time() - before;
    assert!(spent < Duration::from_millis(500), "{spent:?} of processor time were spent on waiting");
    early.heartbeat().await.unwrap();

    drop(hoard);
    tokio::time::timeout(Duration::from_secs(10), late.heartbeat())
        .await
        .expect("accepted in the end")
        .unwrap();
}
