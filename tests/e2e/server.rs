//! A running `chio serve`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chio_native::{Address, Client};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::Value;

use crate::home::Home;
use crate::processes::MARK;

/// Longest that a server may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is killed when it is dropped.
pub struct Server {
    child: Child,
    address: Address,
    stderr: Arc<Mutex<String>>,
    reading: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Starts a server over TCP and waits until it serves.
    pub fn tcp(home: &Home, arguments: &[&str]) -> Self {
        Self::start(home.command(&with("tcp://127.0.0.1:0", arguments)))
    }

    /// Starts a server over a Unix socket in the home's side.
    pub fn unix(home: &Home, arguments: &[&str]) -> Self {
        let address = format!("unix://{}", home.side("socket").display());
        Self::start(home.command(&with(&address, arguments)))
    }

    /// Starts a server whose whole tree carries a mark.
    pub fn marked(home: &Home, mark: &str, arguments: &[&str]) -> Self {
        let mut command = home.command(&with("tcp://127.0.0.1:0", arguments));
        command.env(MARK, mark);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let reading = keep(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let (send, ready) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            let _ = send.send(lines.next());
            lines.for_each(drop);
        });
        let mut server = Self { child, address: Address::Stdio, stderr, reading: Some(reading) };
        let Ok(Some(Ok(line))) = ready.recv_timeout(PATIENCE) else {
            panic!("the server did not get ready: {}", server.stderr());
        };
        let ready: Value = serde_json::from_str(&line).unwrap();
        server.address = ready["listening"].as_str().unwrap().parse().unwrap();
        server
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.address).await.unwrap()
    }

    /// The host and port that it serves.
    pub fn host(&self) -> String {
        let Address::Tcp { host, port } = &self.address else { panic!("not served over TCP") };
        format!("{host}:{port}")
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The system refuses every write of it that would reach beyond `bytes` of a file, or none.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(Pid::from_raw(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) -> ExitStatus {
        rustix::process::kill_process(Pid::from_raw(self.pid()).unwrap(), Signal::TERM).unwrap();
        self.wait()
    }

    /// Kills it without a chance to clean up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reading) = self.reading.take().filter(std::thread::JoinHandle::is_finished) {
                    reading.join().unwrap();
                }
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the server did not end: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("stderr of the server: {}", self.stderr());
        }
    }
}

/// A server's command line: the workshop of the drivers, which works in `folder`.
pub fn workshop(folder: &Path) -> Vec<String> {
    std::fs::create_dir_all(folder).unwrap();
    let script = crate::driver::file("workshop.py");
    vec!["python3".to_owned(), script.display().to_string(), folder.display().to_string()]
}

fn with<'a>(address: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    ["serve", "--json", "--listen", address].into_iter().chain(arguments.iter().copied()).collect()
}

fn keep(mut source: ChildStderr, text: Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            text.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    })
}
