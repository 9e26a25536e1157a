//! A line with faults: bytes go through it slowly, late, and not for long.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A connection breaks after so many bytes, both ways together.
    pub(crate) break_after: Option<u64>,
    /// A connection breaks after so long.
    pub(crate) break_every: Option<Duration>,
    /// Every byte comes so late.
    pub(crate) delay: Duration,
    /// Bytes a second, each way.
    pub(crate) rate: Option<u64>,
}

/// What went through.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    breaks: AtomicU64,
}

/// A line to a server.
pub(crate) struct Proxy {
    pub(crate) url: String,
    counts: Arc<Counts>,
    faults: Arc<Mutex<Faults>>,
}

impl Proxy {
    pub(crate) fn new(port: u16, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let counts = Arc::new(Counts::default());
        let faults = Arc::new(Mutex::new(faults));
        let (all, now) = (Arc::clone(&counts), Arc::clone(&faults));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                all.connections.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let faults = *now.lock().unwrap();
                carry(client, server, faults, &all);
            }
        });
        Self { url, counts, faults }
    }

    /// What is wrong with the connections that come from now on.
    pub(crate) fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    pub(crate) fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn breaks(&self) -> u64 {
        self.counts.breaks.load(Ordering::SeqCst)
    }

    /// Bytes to the server.
    pub(crate) fn up(&self) -> u64 {
        self.counts.up.load(Ordering::SeqCst)
    }

    /// Bytes from the server.
    pub(crate) fn down(&self) -> u64 {
        self.counts.down.load(Ordering::SeqCst)
    }
}

fn carry(client: TcpStream, server: TcpStream, faults: Faults, counts: &Arc<Counts>) {
    let gone = Arc::new(AtomicU64::new(0));
    let broken = Arc::new(AtomicBool::new(false));
    let born = Instant::now();
    for (from, to, is_up) in [(client.try_clone().unwrap(), server.try_clone().unwrap(), true), (server, client, false)]
    {
        let (counts, gone, broken) = (Arc::clone(counts), Arc::clone(&gone), Arc::clone(&broken));
        thread::spawn(move || {
            one_way(from, to, faults, born, &gone, &broken, &counts, is_up);
        });
    }
}

#[allow(clippy::too_many_arguments)]
fn one_way(
    mut from: TcpStream,
    mut to: TcpStream,
    faults: Faults,
    born: Instant,
    gone: &AtomicU64,
    broken: &AtomicBool,
    counts: &Counts,
    is_up: bool,
) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 1024];
    loop {
        let worn = faults.break_every.is_some_and(|time| born.elapsed() >= time)
            || faults.break_after.is_some_and(|most| gone.load(Ordering::SeqCst) >= most);
        if worn && !broken.swap(true, Ordering::SeqCst) {
            counts.breaks.fetch_add(1, Ordering::SeqCst);
        }
        if broken.load(Ordering::SeqCst) {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
        let got = match from.read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(got) => got,
            Err(problem) if matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return,
        };
        thread::sleep(faults.delay);
        if let Some(rate) = faults.rate {
            thread::sleep(Duration::from_secs_f64(got as f64 / rate as f64));
        }
        gone.fetch_add(got as u64, Ordering::SeqCst);
        let way = if is_up { &counts.up } else { &counts.down };
        way.fetch_add(got as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..got]).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
}
