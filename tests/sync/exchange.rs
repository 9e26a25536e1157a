//! What an exchange brings, and what it does not send.

use super::node::Place;
use super::proxy::{Faults, Proxy};

const BOTH: &str = "export,import";

#[test]
fn two_nodes_converge_and_then_nothing_goes() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.ok(&["audience", "set", "b"]);
    a.write("plant", 30);
    b.write("lamp", 20);
    // A thing that both write forks.
    a.put("both", "1");
    b.put("both", "2");
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);

    let done = a.json(&["sync", "b"]);
    assert_eq!((done["pulled"]["added"].as_u64(), done["pushed"]["added"].as_u64()), (Some(21), Some(31)), "{done}");
    assert_eq!(done["peer_entries"], 52);
    assert_eq!(a.heads(), b.heads());
    assert_eq!(a.entries(), 52);
    let both = (a.json(&["get", "both"]), b.json(&["get", "both"]));
    assert_eq!(both.0["id"], both.1["id"], "the latest is the same everywhere");
    assert_eq!(b.json(&["get", "plant-1"])["content"], "open", "it was sealed to b");

    let again = a.json(&["sync", "b"]);
    for way in ["pulled", "pushed"] {
        for count in ["added", "known", "completed", "refused"] {
            assert_eq!(again[way][count], 0, "{again}");
        }
    }
    // A question and its answer, twice at most: checkpoints.
    assert!(again["sent_bytes"].as_u64().unwrap() < 3000, "{again}");

    // What came on either side goes, and nothing else.
    a.put("plant-1", "1");
    b.put("lamp-1", "1");
    let line = Proxy::new(server.port, Faults::default());
    a.reaches(&b, &line.url, BOTH);
    let next = a.json(&["sync", "b"]);
    assert_eq!((next["pulled"]["added"].as_u64(), next["pushed"]["added"].as_u64()), (Some(1), Some(1)), "{next}");
    assert_eq!((next["pulled"]["known"].as_u64(), next["pushed"]["known"].as_u64()), (Some(0), Some(0)));
    assert!(line.up() + line.down() < 12_000, "{} {}", line.up(), line.down());
    assert_eq!(line.connections(), 1);
    assert_eq!(a.heads(), b.heads());
    server.stop();
    a.verifies();
    b.verifies();
}
