//! A connection: a socket, mostly with TLS over it, paced, counted, and given up when
//! it stalls.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::Address;
use super::pace::{Bucket, Pace, SLICE, Traffic};

/// How long one address of a server is tried.
const CONNECT: Duration = Duration::from_secs(15);

/// Pieces of TLS that a server may send of itself while nothing is asked.
const MAX_UNASKED: usize = 16;

/// A connection to a server.
pub(crate) enum Link {
    /// With TLS.
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
    /// Without: on this machine, or where nothing secret is said.
    Plain(Socket),
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tls(link) => link.read(buffer),
            Self::Plain(socket) => socket.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tls(link) => link.write(bytes),
            Self::Plain(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(link) => link.flush(),
            Self::Plain(socket) => socket.flush(),
        }
    }
}

/// Connects to the first of the places that answers, and shakes hands; without
/// TLS to places on this machine only, unless the address is an open one.
pub(crate) fn connect(
    address: &Address,
    places: &[SocketAddr],
    tls: Option<Arc<ClientConfig>>,
    pace: &Pace,
    traffic: &Traffic,
) -> io::Result<Link> {
    let name = address.server_name()?;
    // A name may mean any place.
    if tls.is_none() && !address.is_open() && !places.iter().all(|place| place.ip().is_loopback()) {
        return Err(io::Error::other(format!("{} is not on this machine", address.host())));
    }
    let socket = Socket::connect(address, places, pace, traffic)?;
    let Some(tls) = tls else { return Ok(Link::Plain(socket)) };
    let client = ClientConnection::new(tls, name).map_err(io::Error::other)?;
    let mut link = StreamOwned::new(client, socket);
    while link.conn.is_handshaking() {
        link.conn.complete_io(&mut link.sock)?;
    }
    Ok(Link::Tls(Box::new(link)))
}

/// Whether the next question can go over it: the server is there, and has said
/// nothing that it was not asked.
pub(crate) fn is_idle(link: &mut Link) -> bool {
    let link = match link {
        Link::Tls(link) => link,
        Link::Plain(socket) => {
            return AtOnce(socket).read(&mut [0]).is_err_and(|problem| problem.kind() == ErrorKind::WouldBlock);
        }
    };
    for _ in 0..MAX_UNASKED {
        match link.conn.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
            _ => return false,
        }
        match link.conn.read_tls(&mut AtOnce(&mut link.sock)) {
            Ok(0) => return false,
            // Tickets, with which the next connection takes up the session.
            Ok(_) => {}
            Err(problem) => return problem.kind() == ErrorKind::WouldBlock,
        }
    }
    false
}

/// Reads what a server has said that takes nothing any more. The link itself
/// would first send what could not be sent.
pub(crate) fn read_last(link: &mut Link, buffer: &mut [u8]) -> io::Result<usize> {
    let link = match link {
        Link::Tls(link) => link,
        Link::Plain(socket) => return socket.read(buffer),
    };
    loop {
        match link.conn.reader().read(buffer) {
            Err(problem) if problem.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        link.conn.read_tls(&mut link.sock)?;
        link.conn.process_new_packets().map_err(io::Error::other)?;
    }
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
    fn connect(address: &Address, places: &[SocketAddr], pace: &Pace, traffic: &Traffic) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, format!("{} has no address", address.host()));
        for one in places {
            let one = *one;
            match pace.aside(move || TcpStream::connect_timeout(&one, CONNECT)).flatten() {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(SLICE))?;
                    stream.set_write_timeout(Some(SLICE))?;
                    let (out, back) = (Bucket::new(pace.rate), Bucket::new(pace.rate));
                    return Ok(Self { stream, pace: pace.clone(), traffic: traffic.clone(), out, back });
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
            self.pace.goes_on()?;
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

    fn came(&mut self, bytes: usize) {
        self.back.pay(bytes);
        self.traffic.count_received(bytes);
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.back.wait(&self.pace)?;
        let most = self.back.portion(buffer.len());
        let got = self.patiently("came", |stream| stream.read(&mut buffer[..most]))?;
        self.came(got);
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

/// Reads what is there and waits for nothing.
struct AtOnce<'s>(&'s mut Socket);

impl Read for AtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.stream.set_nonblocking(true)?;
        let got = self.0.stream.read(buffer);
        self.0.stream.set_nonblocking(false)?;
        let got = got?;
        self.0.came(got);
        Ok(got)
    }
}
