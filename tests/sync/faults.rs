//! Lines that break, are slow, or lead to somebody else.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::node::{Node, Place, Server, copy};
use super::proxy::{Faults, Proxy};

const BOTH: &str = "export,import";

fn rounds(usual: u64) -> u64 {
    std::env::var("THINGDB_TEST_ROUNDS").map_or(usual, |n| n.parse().expect("THINGDB_TEST_ROUNDS is a number"))
}

/// Two nodes that know each other, the second one with a server.
fn pair(place: &Place) -> (Node, Node, Server) {
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let server = b.serve();
    (a, b, server)
}

#[test]
fn a_line_that_breaks_every_few_kilobytes_still_carries_everything_once() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 200);
    b.write("lamp", 200);
    let line = Proxy::new(server.port, Faults { break_after: Some(16 << 10), ..Faults::default() });
    a.reaches(&b, &line.url, BOTH);
    let done = a.json(&["sync", "b", "--tries", "20"]);
    assert!(line.breaks() > 5, "{} {done}", line.breaks());
    assert_eq!(done["pulled"]["added"], 200, "{done}");
    assert_eq!((&done["pulled"]["known"], &done["pushed"]["known"]), (&0.into(), &0.into()), "{done}");
    assert_eq!(a.heads(), b.heads());
    assert_eq!(a.entries(), 400);
    // 400 entries of about 500 bytes; what broke off goes again, and each
    // connection costs a handshake.
    let most = 400 * 560 + (line.connections() + 1) * 10_000;
    assert!(line.up() + line.down() < most, "{} + {} of {most}", line.up(), line.down());
    let again = a.json(&["sync", "b"]);
    assert_eq!((&again["pushed"]["added"], &again["pulled"]["added"]), (&0.into(), &0.into()), "{again}");
    server.stop();
    a.verifies();
    b.verifies();
}

#[test]
fn a_line_that_breaks_every_few_seconds_and_is_slow_still_finishes() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 200);
    let faults = Faults {
        break_every: Some(Duration::from_secs(3)),
        delay: Duration::from_millis(20),
        rate: Some(16 << 10),
        ..Faults::default()
    };
    let line = Proxy::new(server.port, faults);
    a.reaches(&b, &line.url, "import");
    let done = a.json(&["push", "b", "--tries", "30"]);
    assert!(line.breaks() > 1, "{done}");
    assert_eq!((&done["pushed"]["known"], &done["pushed"]["refused"]), (&0.into(), &0.into()), "{done}");
    assert_eq!(a.heads(), b.heads());
    server.stop();
    b.verifies();
}

#[test]
fn a_rate_is_kept_to() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 40);
    a.reaches(&b, &server.url, "import");
    let told = a.json(&["push", "b", "--dry-run", "--max-rate", "8KiB/s"]);
    let planned = &told["pushed"]["planned"];
    assert_eq!(planned["entries"], 40, "{told}");
    let bytes = planned["bytes"].as_u64().unwrap();
    assert!((10_000..30_000).contains(&bytes), "{told}");
    assert_eq!(b.entries(), 0, "a dry run changes nothing");
    let start = Instant::now();
    let done = a.json(&["push", "b", "--max-rate", "8KiB/s"]);
    let seconds = start.elapsed().as_secs_f64();
    let sent = done["sent_bytes"].as_u64().unwrap() as f64;
    // Never faster; how much slower is the machine's business.
    assert!(sent / seconds <= 8.0 * 1024.0 * 1.3, "{sent} in {seconds}");
    assert_eq!(b.entries(), 40);
}

#[test]
fn nodes_that_are_killed_in_the_middle_end_equal() {
    let rounds = rounds(4);
    let place = Place::new();
    let (a, b, mut server) = pair(&place);
    for round in 0..rounds {
        a.write(&format!("plant{round}"), 150);
        // While it is served its commands run in the server.
        b.write(&format!("lamp{round}"), 150);
        let line = Proxy::new(server.port, Faults { rate: Some(256 << 10), ..Faults::default() });
        a.reaches(&b, &line.url, BOTH);
        let mut child = a.command(&["sync", "b", "--tries", "2", "--json"]);
        let mut child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        // Somewhere in the middle, by what has gone.
        let until = 4_000 + round * 9_000 % 120_000;
        let start = Instant::now();
        while line.up() + line.down() < until && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if round % 2 == 0 {
            child.kill().unwrap();
        } else {
            server.kill();
            server = b.serve();
        }
        child.wait().unwrap();
        a.reaches(&b, &server.url, BOTH);
        a.json(&["sync", "b"]);
        assert_eq!(a.heads(), b.heads(), "round {round}");
        let again = a.json(&["sync", "b"]);
        assert_eq!((&again["pushed"]["added"], &again["pulled"]["added"]), (&0.into(), &0.into()), "{again}");
    }
    assert_eq!(a.entries(), rounds * 300);
    server.stop();
    a.verifies();
    b.verifies();
}

#[test]
fn whoever_has_another_certificate_gets_nothing() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    let other = place.node("mallory");
    a.write("plant", 5);
    a.reaches(&b, &server.url, BOTH);
    // Somebody else answers at the address.
    let man = other.serve();
    a.ok(&["peer", "set", "b", "--url", &man.url, "--token-file", place.path("a-b.token").to_str().unwrap()]);
    let err = a.fails(&["sync", "b"], 14, "wrong-peer");
    assert!(err.contains("certificate"), "{err}");
    assert_eq!(other.entries(), 0);
    drop(man);
    // Nobody does.
    let err = a.fails(&["sync", "b"], 14, "unreachable");
    assert!(err.contains("run it again later"), "{err}");
}

/// Shows the certificate of another and signs with a key of its own.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesServerCert for Thief {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Answers at a port with a stolen certificate, and counts what it reads.
fn thief(certificate: Vec<u8>) -> (u16, Arc<AtomicUsize>) {
    let own = rcgen::KeyPair::generate().unwrap();
    let der = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&der).unwrap();
    let shown = Thief(Arc::new(CertifiedKey::new(vec![CertificateDer::from(certificate)], key)));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(server, client);
            let mut bytes = [0; 4096];
            while let Ok(got @ 1..) = stream.read(&mut bytes) {
                count.fetch_add(got, Ordering::SeqCst);
            }
        }
    });
    (port, read)
}

#[test]
fn whoever_has_the_right_certificate_and_not_its_key_gets_nothing() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 5);
    a.reaches(&b, &server.url, BOTH);
    server.stop();
    let pem = b.ok(&["card", "--certificate"]);
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let certificate = data_encoding::BASE64.decode(body.trim().as_bytes()).unwrap();
    let (port, read) = thief(certificate);
    let token = place.path("a-b.token");
    let url = format!("https://127.0.0.1:{port}");
    a.ok(&["peer", "set", "b", "--url", &url, "--token-file", token.to_str().unwrap()]);
    a.fails(&["sync", "b"], 14, "wrong-peer");
    assert_eq!(read.load(Ordering::SeqCst), 0, "not even the token");
}

#[test]
fn a_token_that_is_refused_says_so() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 5);
    b.write("lamp", 1);
    a.reaches(&b, &server.url, "import");
    // It may bring and not take.
    a.fails(&["pull", "b"], 13, "token-refused");
    assert_eq!(a.json(&["push", "b"])["pushed"]["added"], 5);
    b.ok(&["token", "rm", "for-a-import"]);
    let err = a.fails(&["push", "b"], 13, "token-refused");
    assert!(!err.contains("tdb_"), "{err}");
}

#[test]
fn a_token_is_of_use_to_the_node_that_it_names() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    let c = place.node("c");
    c.knows(&b);
    a.write("plant", 5);
    a.reaches(&b, &server.url, BOTH);
    // Nothing is sealed to b.
    let (done, said) = a.json_and_talk(&["sync", "b"]);
    assert_eq!(done["pushed"]["added"], 5, "{done}");
    assert!(said.contains("5 entries that were sent are not sealed to b"), "{said}");
    assert!(said.contains("share THING --to b") && !said.contains("names no node"), "{said}");
    a.ok(&["put", "plant-1", "1", "--to", "b"]);
    let (done, said) = a.json_and_talk(&["sync", "b"]);
    assert!(done["pushed"]["added"] == 1 && !said.contains("sealed"), "{done} {said}");

    let token = place.path("a-b.token");
    c.ok(&["peer", "set", "b", "--url", &server.url, "--token-file", token.to_str().unwrap()]);
    let err = c.fails(&["sync", "b"], 13, "token-refused");
    assert!(err.contains("was made for the node") && err.contains("b says: thingdb peer add"), "{err}");
}

#[test]
fn what_is_known_of_a_server_is_changed_part_by_part() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.fails(&["peer", "set", "b"], 2, "usage");
    a.fails(&["peer", "set", "b", "--url", &server.url], 2, "usage");
    a.fails(&["peer", "set", "b", "--tls-fingerprint", &"00".repeat(32)], 2, "usage");
    let known = a.json(&["peer", "show", "b"]);
    assert_eq!(
        (&known["url"], &known["has_token"], &known["tls"]),
        (&serde_json::Value::Null, &false.into(), &serde_json::Value::Null)
    );
    a.reaches(&b, "https://127.0.0.1:9", BOTH);
    a.fails(&["peer", "set", "b", "--tls-fingerprint", "00"], 2, "usage");
    let known = a.json(&["peer", "set", "b", "--tls-fingerprint", &"00".repeat(32)]);
    assert_eq!((&known["url"], &known["has_token"]), (&"https://127.0.0.1:9".into(), &true.into()), "{known}");
    assert_eq!(known["tls"], "00".repeat(32), "{known}");
    let shown = a.ok(&["peer", "show", "b", "--format", "table"]);
    assert!(shown.contains("https://127.0.0.1:9  with a token") && shown.contains(&"00".repeat(32)), "{shown}");
    let listed = a.ok(&["peer", "ls", "--format", "table"]);
    assert!(listed.contains("https://127.0.0.1:9"), "{listed}");
    assert_eq!(a.json(&["peer", "set", "b", "--url", &server.url])["tls"], serde_json::Value::Null);
    assert_eq!(a.json(&["peer", "set", "b", "--url", &server.url])["url"], server.url.as_str());
    a.ok(&["sync", "b"]);
    b.ok(&["token", "rm", "for-a-export-import"]);
    a.fails(&["sync", "b"], 13, "token-refused");
    let token = b.ok(&["token", "new", "--peer", "a", "--scope", BOTH, "--format", "raw"]);
    std::fs::write(place.path("new.token"), token).unwrap();
    let known = a.json(&["peer", "set", "b", "--token-file", place.path("new.token").to_str().unwrap()]);
    assert_eq!(known["url"], server.url.as_str(), "{known}");
    a.ok(&["sync", "b"]);
    a.ok(&["peer", "set", "b", "--url", &server.url, "--tls-fingerprint", &"00".repeat(32)]);
    a.fails(&["sync", "b"], 14, "wrong-peer");
    // The card's certificate counts again.
    a.ok(&["peer", "set", "b", "--url", &server.url]);
    a.ok(&["sync", "b"]);
}

#[test]
fn a_token_that_is_removed_in_the_middle_ends_it() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 200);
    let line = Proxy::new(server.port, Faults { rate: Some(16 << 10), ..Faults::default() });
    a.reaches(&b, &line.url, BOTH);
    let child = a.command(&["sync", "b"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while line.up() < 20_000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    b.ok(&["token", "rm", "for-a-export-import"]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(13), "{}", String::from_utf8_lossy(&output.stderr));
    let there = b.entries();
    assert!(there > 0 && there < 200, "{there}");
    // With a new token it goes on.
    a.reaches(&b, &server.url, BOTH);
    let done = a.json(&["sync", "b"]);
    assert_eq!(done["pushed"]["added"], 200 - there, "{done}");
    assert_eq!(done["pushed"]["known"], 0, "{done}");
}

#[test]
fn a_peer_that_was_set_back_is_noticed_and_the_evidence_checks() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    b.write("lamp", 10);
    a.reaches(&b, &server.url, BOTH);
    a.ok(&["sync", "b"]);
    server.stop();
    copy(&b.db(), &place.path("old"));
    let server = b.serve();
    b.write("lamp", 10);
    a.reaches(&b, &server.url, BOTH);
    a.ok(&["sync", "b"]);
    server.stop();

    // The directory of before is served again.
    std::fs::rename(b.db(), place.path("new")).unwrap();
    std::fs::rename(place.path("old"), b.db()).unwrap();
    let server = b.serve();
    let reach = |server: &Server| a.reaches(&b, &server.url, BOTH);
    reach(&server);
    let err = a.fails(&["sync", "b"], 4, "rolled-back");
    let file = std::fs::read_dir(a.db().join("evidence")).unwrap().next().unwrap().unwrap().path();
    assert!(err.contains(file.file_name().unwrap().to_str().unwrap()), "{err}");
    let checked = a.json(&["verify-evidence", file.to_str().unwrap()]);
    assert_eq!((&checked["found"], &checked["proven"]), (&"rolled-back".into(), &false.into()), "{checked}");
    // It stays so until somebody has looked at it, whatever is shown next.
    a.fails(&["pull", "b"], 4, "rolled-back");
    server.stop();
    // It goes on and writes something else in the place of what was lost.
    let server = b.serve();
    b.write("other", 10);
    reach(&server);
    // As many entries as were seen before, and others: now it is proven.
    a.fails(&["sync", "b"], 4, "split-view");
    let files = std::fs::read_dir(a.db().join("evidence")).unwrap();
    let newest = files.map(|file| file.unwrap().path()).max().unwrap();
    let checked = a.json(&["verify-evidence", newest.to_str().unwrap()]);
    assert_eq!((&checked["found"], &checked["proven"]), (&"split-view".into(), &true.into()), "{checked}");
    let doctor = a.json(&["doctor"]).to_string();
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(doctor.contains("split view: b") && doctor.contains(name), "{doctor}");
    let shown = a.json(&["peer", "show", "b"]);
    assert_eq!(shown["contradiction"]["found"], "split-view", "{shown}");
    a.ok(&["peer", "forget-checkpoint", "b"]);
    a.ok(&["sync", "b"]);
    assert!(file.exists());
    server.stop();

    // The other copy comes back: now two ledgers of one size are signed.
    std::fs::rename(b.db(), place.path("third")).unwrap();
    std::fs::rename(place.path("new"), b.db()).unwrap();
    let server = b.serve();
    while b.entries() < 30 {
        let missing = 30 - b.entries();
        b.write("more", missing.min(10) as usize);
    }
    reach(&server);
    let err = a.fails(&["sync", "b"], 4, "split-view");
    assert!(err.contains("did not grow"), "{err}");
    let files = std::fs::read_dir(a.db().join("evidence")).unwrap();
    let newest = files.map(|file| file.unwrap().path()).max().unwrap();
    let checked = a.json(&["verify-evidence", newest.to_str().unwrap()]);
    assert_eq!(checked["found"], "split-view", "{checked}");
    // Changed, it shows nothing.
    let text = std::fs::read_to_string(&newest).unwrap().replace("-- shown\n", "-- shown \n");
    std::fs::write(place.path("forged"), text).unwrap();
    a.fails(&["verify-evidence", place.path("forged").to_str().unwrap()], 4, "no-evidence");
}

#[test]
fn a_node_that_was_set_back_learns_it_from_its_peer() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 10);
    copy(&a.db(), &place.path("old"));
    a.write("plant", 10);
    a.reaches(&b, &server.url, BOTH);
    a.ok(&["sync", "b"]);
    std::fs::rename(a.db(), place.path("new")).unwrap();
    std::fs::rename(place.path("old"), a.db()).unwrap();
    a.reaches(&b, &server.url, BOTH);
    let err = a.fails(&["sync", "b"], 4, "rolled-back");
    assert!(err.contains("was set back") && err.contains("20"), "{err}");
    // It does not forget that: what it wrote now would be a second ledger.
    a.fails(&["put", "plant-1", "1"], 4, "rolled-back");
    a.fails(&["sync", "b"], 4, "rolled-back");
    let told = a.run(&["doctor", "--json"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stdout).contains("truncated"));
    // The peer has kept both checkpoints.
    assert_eq!(std::fs::read_dir(b.db().join("evidence")).unwrap().count(), 1);
    // The newer copy is found, and the peer's people say that it is well.
    std::fs::rename(a.db(), place.path("old")).unwrap();
    std::fs::rename(place.path("new"), a.db()).unwrap();
    a.reaches(&b, &server.url, BOTH);
    a.fails(&["sync", "b"], 4, "accused");
    b.ok(&["peer", "forget-checkpoint", "a"]);
    a.ok(&["sync", "b"]);
}
