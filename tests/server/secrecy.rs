//! TLS: which versions, whose certificate, and who is let in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

use super::client::{self, Client, hex};
use super::routes::{furnished, served};
use super::running::Running;
use super::world::World;

struct Certificate {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn self_signed() -> Certificate {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    Certificate { der: certificate.der().clone(), pem: certificate.pem(), key }
}

fn sha256(certificate: &CertificateDer<'_>) -> String {
    hex(&Sha256::digest(certificate))
}

/// A message that a client of TLS 1.2 would begin with, as OpenSSL writes it.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session; two suites of TLS 1.2; no compression; groups and signatures.
    body.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    body.extend([0, 20, 0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4]);
    let mut hello = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
    hello.extend(body);
    let mut record = vec![0x16, 3, 1, 0, u8::try_from(hello.len()).unwrap()];
    record.extend(hello);
    record
}

#[test]
fn older_versions_and_plain_text_are_refused() {
    let (server, _) = served(furnished(), &[]);
    let mut socket = TcpStream::connect(server.client.address).unwrap();
    socket.write_all(&client_hello_of_tls_1_2()).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    // A fatal alert: protocol version.
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 70]);
    let mut socket = TcpStream::connect(server.client.address).unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.windows(4).any(|window| window == b"HTTP"), "{answer:?}");
    server.stop();
}

#[test]
fn plain_http_is_for_loopback_and_by_name_only() {
    let world = World::new();
    for args in [
        &["serve", "--listen", "0.0.0.0:0", "--plain-http"][..],
        &["serve", "--listen", "127.0.0.1:0", "--plain-http", "--tls-client-ca", "x"],
        &["serve", "--plain-http"],
        &["serve", "--listen", "127.0.0.1:0", "--tls-cert", "x"],
    ] {
        world.run(args).exit(2);
    }
    let server = Running::start(world, &["--plain-http"]);
    let mut socket = TcpStream::connect(server.client.address).unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
    server.stop();
}

#[test]
fn the_certificate_is_the_one_on_the_card() {
    let world = World::new();
    let card: thingdb::Card = world.run(&["card"]).ok().stdout.trim().parse().unwrap();
    let (server, token) = served(world, &[]);
    let said = server.said["certificate"].as_str().unwrap().to_owned();
    assert_eq!(card.tls.map(|hash| hash.to_string()).as_deref(), Some(said.as_str()));
    server.get(&token, "/info").is(200);
    let world = server.stop();
    let server = Running::start(world, &[]);
    assert_eq!(server.said["certificate"], said, "it stays the same");
    let pem = server.world.run(&["card", "--certificate"]).ok().stdout;
    let der = <CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes()).unwrap();
    assert_eq!(sha256(&der), said);
    server.stop();
}

#[test]
fn a_man_in_the_middle_gets_nothing() {
    let (server, token) = served(furnished(), &[]);
    let other = self_signed();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(other.key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![other.der.clone()], key)
        .unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let got = std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut got = Vec::new();
        let _ = rustls::Stream::new(&mut tls, &mut stream).read_to_end(&mut got);
        got
    });
    let mut client = server.client.clone();
    client.address = address;
    let bearer = format!("Bearer {token}");
    let problem = client.send("GET", "/info", &[("authorization", &bearer)], b"").unwrap_err();
    assert!(problem.to_string().contains("another certificate"), "{problem}");
    assert_eq!(got.join().unwrap(), b"");
    server.stop();
}

#[test]
fn certificates_are_read_again_without_a_restart() {
    let world = World::new();
    let (first, second) = (self_signed(), self_signed());
    world.write("server.pem", &first.pem);
    world.write("server.key", first.key.serialize_pem());
    let (server, token) = served(world, &["--tls-cert", "server.pem", "--tls-key", "server.key"]);
    assert!(server.said["certificate"].is_null());
    let client = |certificate: &Certificate| Client::new(server.client.address, &sha256(&certificate.der));
    let bearer = format!("Bearer {token}");
    let ask =
        |client: &Client| client.send("GET", "/info", &[("authorization", &bearer), ("connection", "close")], b"");
    ask(&client(&first)).unwrap().is(200);
    let mut open = client(&first).connect().unwrap();
    // A key that does not belong to it changes nothing.
    server.world.write("server.key", second.key.serialize_pem());
    server.signal("-HUP");
    while !server.log().contains("stays as it was") {
        std::thread::yield_now();
    }
    ask(&client(&first)).unwrap().is(200);
    server.world.write("server.pem", &second.pem);
    server.signal("-HUP");
    while ask(&client(&second)).is_err() {}
    ask(&client(&first)).unwrap_err();
    // What was open goes on.
    let head = client::head("GET", "/info", &[("authorization", &bearer), ("connection", "close")], Some(0));
    open.write_all(&head).unwrap();
    client::Reply::read(&mut BufReader::new(&mut open), false).unwrap().is(200);
    server.stop();
}

#[test]
fn clients_show_a_certificate_where_that_is_asked_for() {
    let world = World::new();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    world.write("ca.pem", authority.pem());
    let issue = |issuer: Option<&CertifiedIssuer<'_, KeyPair>>| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
    };
    let (server, token) = served(world, &["--tls-client-ca", "ca.pem"]);
    let pin = server.said["certificate"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let ask = |own| {
        let client = Client { address: server.client.address, config: client::config(&pin, own) };
        client.send("GET", "/healthz", &[("authorization", &bearer), ("connection", "close")], b"")
    };
    ask(None).unwrap_err();
    ask(Some(issue(None))).unwrap_err();
    ask(Some(issue(Some(&authority)))).unwrap().is(200);
    server.stop();
}

#[test]
fn log_lines_are_json_where_asked_for_and_hold_no_names() {
    let (server, token) = served(furnished(), &["--log-format", "json", "--log-level", "debug"]);
    server.ask(&token, "GET", "/things/part-42", &[("x-request-id", "my.request-1")], b"").is(200);
    let odd = server.ask(&token, "GET", "/things/part-42", &[("x-request-id", "two words")], b"").is(200);
    assert_ne!(odd.header("x-request-id"), Some("two words"));
    server.signal("-TERM");
    let (_, world, log) = server.wait();
    let id = world.run(&["token", "ls"]).ok().json()["id"].as_str().unwrap().to_owned();
    let mut found = false;
    for line in log.as_bytes().lines().map(Result::unwrap) {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        found |= line["request_id"] == "my.request-1" && line["status"] == 200 && line["token"] == id.as_str();
    }
    assert!(found, "{log}");
    assert!(!log.contains("part-42") && !log.contains(&token) && !log.contains("alice"), "{log}");
}
