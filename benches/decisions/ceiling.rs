//! The limit of durable decisions: nothing but the signature, the hashes and two group-committed, synced writes.
//!
//! One thread drains everything that waits, writes it to a file that was written before (so that no metadata changes),
//! syncs once and answers all, just as a store could do at best.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use chio::core::hash::sha256;
use chio::core::keys::SigningKey;
use chio::core::merkle::leaf_hash;
use tokio::sync::oneshot;

const SEGMENT: u64 = 64 << 20;

/// Sizes, in bytes, of what a call writes before and after it runs.
const RECORDS: (usize, usize) = (1_200, 2_000);

type Job = (Vec<u8>, oneshot::Sender<()>);

/// A file with a committer of its own.
#[derive(Clone)]
pub(crate) struct Ceiling {
    jobs: Sender<Job>,
}

impl Ceiling {
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("segment");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path).expect("a file");
        let zeros = vec![0; 1 << 20];
        for _ in 0..SEGMENT >> 20 {
            file.write_all(&zeros).expect("space");
        }
        file.sync_all().expect("a sync");
        let (jobs, waiting) = channel();
        std::thread::spawn(move || commit(&mut file, &waiting));
        Self { jobs }
    }

    async fn write(&self, record: Vec<u8>) {
        let (done, written) = oneshot::channel();
        self.jobs.send((record, done)).expect("a committer");
        written.await.expect("an answer");
    }

    /// `calls` calls with `in_flight` of them at a time.
    pub(crate) async fn calls(&self, calls: u64, in_flight: u64) {
        let left = Arc::new(AtomicU64::new(calls));
        let key = Arc::new(SigningKey::from_seed([9; 32]));
        let workers: Vec<_> = (0..in_flight)
            .map(|_| {
                let (ceiling, left, key) = (self.clone(), Arc::clone(&left), Arc::clone(&key));
                tokio::spawn(async move {
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                        .is_ok()
                    {
                        let intent = vec![b'i'; RECORDS.0];
                        black_box(sha256(&intent));
                        ceiling.write(intent).await;
                        let receipt = vec![b'r'; RECORDS.1];
                        black_box(key.sign(&receipt));
                        black_box(leaf_hash(&receipt));
                        ceiling.write(receipt).await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("a worker");
        }
    }
}

fn commit(file: &mut File, waiting: &Receiver<Job>) {
    let mut at = 0;
    while let Ok(first) = waiting.recv() {
        let jobs: Vec<Job> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let batch: Vec<u8> = jobs.iter().flat_map(|(record, _)| record).copied().collect();
        if at + batch.len() as u64 > SEGMENT {
            at = 0;
        }
        file.seek(SeekFrom::Start(at)).expect("a seek");
        file.write_all(&batch).expect("space");
        file.sync_data().expect("a sync");
        at += batch.len() as u64;
        for (_, done) in jobs {
            let _ = done.send(());
        }
    }
}
