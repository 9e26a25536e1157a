//! A connection: a socket with TLS over it, paced, counted, and given up when
//! it stalls.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::Address;
use super::pace::{Bucket, Pace, SLICE, Traffic, cancelled};

/// How long one address of a peer is tried.
const CONNECT: Duration = Duration::from_secs(15);

/// A TLS connection to a peer.
pub(crate) type Link = StreamOwned<ClientConnection, Socket>;

/// Connects and shakes hands.
pub(crate) fn connect(address: &Address, tls: Arc<ClientConfig>, pace: Pace, traffic: Traffic) -> io::Result<Link> {
    let name = address.server_name()?;
    let socket = Socket::connect(address, pace, traffic)?;
    let client = ClientConnection::new(tls, name).map_err(io::Error::other)?;
    let mut link = StreamOwned::new(client, socket);
    while link.conn.is_handshaking() {
        link.conn.complete_io(&mut link.sock)?;
    }
    Ok(link)
}

/// A socket that is paced and counted.
pub(crate) struct Socket {
    stream: TcpStream,
    pace: Pace,
    traffic: Traffic,
    out: Bucket,
    back: Bucket,
}

impl Socket {
    fn connect(address: &Address, pace: Pace, traffic: Traffic) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, format!("{} has no address", address.host()));
        for one in (address.host(), address.port()).to_socket_addrs()? {
            match TcpStream::connect_timeout(&one, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(SLICE))?;
                    stream.set_write_timeout(Some(SLICE))?;
                    let (out, back) = (Bucket::new(pace.rate), Bucket::new(pace.rate));
                    return Ok(Self { stream, pace, traffic, out, back });
                }
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    /// Does `act` until it succeeds, fails, or nothing moves for too long.
    fn patiently(&mut self, what: &str, mut act: impl FnMut(&mut TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        let start = Instant::now();
        loop {
            if (self.pace.is_cancelled)() {
                return Err(cancelled());
            }
            match act(&mut self.stream) {
                Err(problem) if matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if start.elapsed() >= self.pace.stall {
                        let seconds = self.pace.stall.as_secs();
                        return Err(io::Error::new(ErrorKind::TimedOut, format!("nothing {what} for {seconds} s")));
                    }
                }
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.back.wait(&self.pace)?;
        let most = self.back.portion(buffer.len());
        let got = self.patiently("came", |stream| stream.read(&mut buffer[..most]))?;
        self.back.pay(got);
        self.traffic.count_received(got);
        Ok(got)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.wait(&self.pace)?;
        let most = self.out.portion(bytes.len());
        let gone = self.patiently("could be sent", |stream| stream.write(&bytes[..most]))?;
        self.out.pay(gone);
        self.traffic.count_sent(gone);
        Ok(gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
