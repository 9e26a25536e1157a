//! What the server counts, as Prometheus reads it. No name of a thing or a token
//! is among it; peers are named.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use thingdb::{Cursors, Db, Origin, Time};

/// Upper bounds of the histogram of durations, in µs.
const BUCKETS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 10_000_000];

/// Counters since the server began.
pub(crate) struct Metrics {
    began: Instant,
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    durations: [AtomicU64; BUCKETS_US.len() + 1],
    duration_us: AtomicU64,
    under_way: Arc<AtomicI64>,
    connections: Arc<AtomicI64>,
    accepted: AtomicU64,
    handshakes_failed: AtomicU64,
    refused: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: Arc<AtomicU64>,
    imported: AtomicU64,
    lines_refused: AtomicU64,
}

/// A request that is counted as under way.
pub(crate) struct UnderWay<'a>(&'a Metrics);

/// A connection that is counted.
pub(crate) struct Connected(Arc<AtomicI64>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl UnderWay<'_> {
    /// Counts how it ended.
    pub(crate) fn end(self, route: &'static str, status: StatusCode, took: Duration) {
        let metrics = self.0;
        let mut requests = metrics.requests.lock().expect("no thread panics while it holds the counts");
        *requests.entry((route, status.as_u16())).or_default() += 1;
        drop(requests);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < took_us);
        if let Some(count) = metrics.durations.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        metrics.duration_us.fetch_add(took_us, Ordering::Relaxed);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// All at nothing.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            requests: Mutex::default(),
            durations: Default::default(),
            duration_us: AtomicU64::default(),
            under_way: Arc::default(),
            connections: Arc::default(),
            accepted: AtomicU64::default(),
            handshakes_failed: AtomicU64::default(),
            refused: AtomicU64::default(),
            received_bytes: AtomicU64::default(),
            sent_bytes: Arc::default(),
            imported: AtomicU64::default(),
            lines_refused: AtomicU64::default(),
        }
    }

    /// A request begins.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// A connection was accepted.
    pub(crate) fn connected(&self) -> Connected {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(&self.connections))
    }

    /// A TLS handshake failed.
    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A token was refused, or one that was needed is missing.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of a stream came.
    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of streams that go.
    pub(crate) fn sent_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent_bytes)
    }

    /// An import ended.
    pub(crate) fn imported(&self, added: u64, refused: u64) {
        self.imported.fetch_add(added, Ordering::Relaxed);
        self.lines_refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn text(&self, db: &Db) -> String {
        let mut out = String::new();
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        family(&mut out, "thingdb_requests_total", "counter", "Requests, by route and status.");
        for ((route, status), count) in &*self.requests.lock().expect("no thread panics while it holds the counts") {
            line(&mut out, &format!("thingdb_requests_total{{route=\"{route}\",status=\"{status}\"}}"), *count);
        }
        family(&mut out, "thingdb_request_seconds", "histogram", "Until the answer began.");
        let mut total = 0;
        for (bound, count) in BUCKETS_US.iter().zip(&self.durations) {
            total += get(count);
            line(&mut out, &format!("thingdb_request_seconds_bucket{{le=\"{}\"}}", *bound as f64 / 1e6), total);
        }
        total += self.durations.last().map_or(0, get);
        line(&mut out, "thingdb_request_seconds_bucket{le=\"+Inf\"}", total);
        line(&mut out, "thingdb_request_seconds_sum", get(&self.duration_us) as f64 / 1e6);
        line(&mut out, "thingdb_request_seconds_count", total);
        let gauges = [
            ("thingdb_requests_under_way", "Requests without an answer yet.", self.under_way.load(Ordering::Relaxed)),
            ("thingdb_connections", "Open connections.", self.connections.load(Ordering::Relaxed)),
        ];
        for (name, help, value) in gauges {
            family(&mut out, name, "gauge", help);
            line(&mut out, name, value);
        }
        let counters = [
            ("thingdb_connections_accepted_total", "Connections accepted.", get(&self.accepted)),
            ("thingdb_handshakes_failed_total", "TLS handshakes that failed.", get(&self.handshakes_failed)),
            ("thingdb_tokens_refused_total", "Requests without a good token or scope.", get(&self.refused)),
            ("thingdb_stream_received_bytes_total", "Bytes of imports.", get(&self.received_bytes)),
            ("thingdb_stream_sent_bytes_total", "Bytes of exports.", get(&self.sent_bytes)),
            ("thingdb_entries_imported_total", "Entries that imports added.", get(&self.imported)),
            ("thingdb_lines_refused_total", "Lines that imports refused.", get(&self.lines_refused)),
        ];
        for (name, help, value) in counters {
            family(&mut out, name, "counter", help);
            line(&mut out, name, value);
        }
        family(&mut out, "thingdb_ledger_entries", "gauge", "Entries in the ledger.");
        line(&mut out, "thingdb_ledger_entries", db.ledger_size());
        state(&mut out, db);
        peers(&mut out, db);
        family(&mut out, "thingdb_uptime_seconds", "gauge", "Since the server began.");
        line(&mut out, "thingdb_uptime_seconds", self.began.elapsed().as_secs());
        family(&mut out, "thingdb_build_info", "gauge", "Version of the program.");
        line(&mut out, concat!("thingdb_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);
        out
    }
}

/// How the database stands. What cannot be read is left out.
fn state(out: &mut String, db: &Db) {
    let mut gauge = |name: &str, help: &str, value: Option<u64>| {
        if let Some(value) = value {
            family(out, name, "gauge", help);
            line(out, name, value);
        }
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let waiting = db.waiting().ok();
    let oldest = |waiting: thingdb::Waiting| {
        let since = Duration::from_micros(waiting.oldest.map_or(0, thingdb::Time::micros));
        if waiting.oldest.is_some() { now.saturating_sub(since).as_secs() } else { 0 }
    };
    gauge(
        "thingdb_waiting_entries",
        "Entries that wait for others that are not here.",
        waiting.as_ref().map(|it| it.entries),
    );
    gauge("thingdb_waiting_bytes", "Bytes of them.", waiting.as_ref().map(|it| it.bytes));
    gauge("thingdb_waiting_oldest_seconds", "How long the first of them has waited.", waiting.map(oldest));
    let disk = db.stats().ok().map(|stats| stats.disk_bytes);
    gauge("thingdb_disk_bytes", "Bytes of the database on the disk.", disk);
    let space = rustix::fs::statvfs(db.dir()).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    gauge("thingdb_disk_free_bytes", "Bytes that are free where the database is.", space);
    let contradictions = db.peers().ok().map(|peers| {
        let conflicts = peers.iter().filter(|peer| {
            db.remembered(&peer.origin()).is_ok_and(|it| it.conflict.is_some())
                || db.heads_conflict(&peer.card.node_key).is_ok_and(|it| it.is_some())
        });
        conflicts.count() as u64
    });
    gauge(
        "thingdb_peers_contradicting",
        "Peers that showed two ledgers, or said two things of the heads of one.",
        contradictions,
    );
    let saved = thingdb::last_backups(db.dir()).ok().and_then(|places| Some(places.first()?.time.micros() / 1_000_000));
    gauge(
        "thingdb_backup_timestamp_seconds",
        "When the database was saved last with thingdb backup, in seconds since 1970.",
        saved,
    );
    gauge("thingdb_read_only", "1 if no entries are taken.", Some(u64::from(!db.is_writable())));
}

/// How far the exchange with each peer is, and how the last ones ended that this
/// node began. What is not known is left out.
fn peers(out: &mut String, db: &Db) {
    let peers = db.peers().unwrap_or_default();
    let mut family_of = |name: &str, help: &str, value: &dyn Fn(&Origin) -> Option<f64>| {
        family(out, name, "gauge", help);
        for peer in &peers {
            if let Some(value) = value(&peer.origin()) {
                line(out, &format!("{name}{{peer=\"{}\"}}", label(&peer.name)), value);
            }
        }
    };
    let cursors = |node: &Origin| db.cursors(node, "").ok().filter(|cursors| *cursors != Cursors::default());
    family_of(
        "thingdb_peer_unsent_entries",
        "Entries here that were not offered to the peer yet, or that it refused.",
        &|node| {
            let cursors = cursors(node)?;
            let left = db.ledger_size().saturating_sub(cursors.pushed);
            Some(left.saturating_add(cursors.refused_there.entries()) as f64)
        },
    );
    family_of(
        "thingdb_peer_unfetched_entries",
        "Entries of the last checkpoint of the peer that were not fetched yet, or refused here.",
        &|node| {
            let cursors = cursors(node)?;
            let size = db.remembered(node).ok()?.checkpoint?.claimed().size;
            Some(size.saturating_sub(cursors.pulled).saturating_add(cursors.refused_here.entries()) as f64)
        },
    );
    let seconds = |time: Time| time.micros() as f64 / 1e6;
    family_of(
        "thingdb_peer_exchange_succeeded_timestamp_seconds",
        "When the last exchange with the peer ended that went through, in seconds since 1970.",
        &|node| db.exchanges(node).ok()?.succeeded.map(seconds),
    );
    family_of(
        "thingdb_peer_exchange_failed_timestamp_seconds",
        "When the last exchange with the peer ended that did not, in seconds since 1970.",
        &|node| db.exchanges(node).ok()?.failed.map(|(time, _)| seconds(time)),
    );
}

/// A label's value as it stands between quotes.
fn label(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_label_or_its_line() {
        assert_eq!(label("a\\\"b\"} 1\nc"), r#"a\\\"b\"} 1\nc"#);
        assert_eq!(label("Halle 1 ü"), "Halle 1 ü");
    }
}
