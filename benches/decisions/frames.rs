//! A heartbeat over the native transport against a raw round trip over the same kind of socket.

use std::sync::Arc;

use chio::native::{Address, Client, Listener, ServerLimits, serve};
use chio::store::MemoryStore;
use criterion::Criterion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::fixture::kernel;

/// A heartbeat frame: four bytes of length and the message.
const FRAME: usize = 24;

pub(crate) fn measure(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let shutdown = CancellationToken::new();
    let (mut raw, client) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let raw = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        raw.set_nodelay(true).expect("no delay");
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.expect("a peer");
            peer.set_nodelay(true).expect("no delay");
            let mut frame = [0; FRAME];
            while peer.read_exact(&mut frame).await.is_ok() {
                peer.write_all(&frame).await.expect("a peer");
            }
        });
        let address: Address = "tcp://127.0.0.1:0".parse().expect("an address");
        let listener = Listener::bind(&address).await.expect("a port");
        let bound = listener.address().clone();
        let kernel = kernel(Arc::new(MemoryStore::new()));
        tokio::spawn(serve(listener, kernel, ServerLimits::default(), shutdown.clone()));
        (raw, Client::connect(&bound).await.expect("a connection"))
    });

    let mut group = criterion.benchmark_group("round trip over TCP");
    group.bench_function("limit: raw bytes", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut frame = [0; FRAME];
                raw.write_all(&frame).await.expect("a peer");
                raw.read_exact(&mut frame).await.expect("an answer");
            });
        });
    });
    group.bench_function("heartbeat", |b| {
        b.iter(|| runtime.block_on(client.heartbeat()).expect("an answer"));
    });
    group.finish();
    shutdown.cancel();
}
