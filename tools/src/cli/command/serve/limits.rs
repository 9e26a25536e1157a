//! Options that say how much the server takes.

use std::time::Duration;

use crate::server::config::Limits;

/// How much the server takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Connections at once
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = usual().connections)]
    max_connections: usize,

    /// Requests at once, over all connections
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = usual().requests)]
    max_requests: usize,

    /// Requests at once with one token
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = usual().requests_per_token)]
    max_requests_per_token: usize,

    /// Requests a second with one token
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..), default_value_t = usual().rate)]
    max_rate: u32,

    /// Imports at once
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = usual().imports)]
    max_imports: usize,

    /// Exports at once
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = usual().exports)]
    max_exports: usize,

    /// Exports that follow the ledger at once
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = usual().followers)]
    max_followers: usize,

    /// MiB of the data of an entry
    #[arg(long, value_name = "MIB", hide_short_help = true, value_parser = clap::value_parser!(u64).range(1..=16), default_value_t = usual().body_bytes >> 20)]
    max_body: u64,

    /// MiB of bodies that are read as a whole, over all requests, and of answers that wait
    #[arg(long, value_name = "MIB", hide_short_help = true, value_parser = clap::value_parser!(u64).range(1..=1 << 20), default_value_t = usual().held_bytes >> 20)]
    max_held: u64,

    /// MiB of a stream that is imported, as it comes
    #[arg(long, value_name = "MIB", hide_short_help = true, default_value_t = usual().stream_bytes >> 20)]
    max_stream: u64,

    /// Seconds for a TLS handshake, and for the head of a request
    #[arg(long, value_name = "SECONDS", hide_short_help = true, value_parser = seconds, default_value = seconds_of(usual().head))]
    head_timeout: Duration,

    /// Seconds between two pieces of a body, either way
    #[arg(long, value_name = "SECONDS", hide_short_help = true, value_parser = seconds, default_value = seconds_of(usual().stall))]
    stall_timeout: Duration,

    /// Bytes a second that a body moves at least, either way
    #[arg(long, value_name = "BYTES", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..), default_value_t = usual().min_rate)]
    min_rate: u32,

    /// Seconds for which a body may move less than that
    #[arg(long, value_name = "SECONDS", hide_short_help = true, value_parser = seconds, default_value = seconds_of(usual().rate_window))]
    rate_window: Duration,

    /// Seconds for a connection without a request
    #[arg(long, value_name = "SECONDS", hide_short_help = true, value_parser = seconds, default_value = seconds_of(usual().idle))]
    idle_timeout: Duration,

    /// Seconds for what is under way when the server is told to stop
    #[arg(long, value_name = "SECONDS", hide_short_help = true, value_parser = seconds, default_value = seconds_of(usual().shutdown))]
    shutdown_timeout: Duration,
}

impl LimitArgs {
    /// The limits that these options make.
    pub(super) fn resolved(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            requests: self.max_requests,
            requests_per_token: self.max_requests_per_token,
            rate: self.max_rate,
            imports: self.max_imports,
            exports: self.max_exports,
            followers: self.max_followers,
            body_bytes: self.max_body << 20,
            held_bytes: self.max_held << 20,
            stream_bytes: self.max_stream.saturating_mul(1 << 20),
            head: self.head_timeout,
            stall: self.stall_timeout,
            min_rate: self.min_rate,
            rate_window: self.rate_window,
            idle: self.idle_timeout,
            shutdown: self.shutdown_timeout,
            ..usual()
        }
    }
}

/// What counts where nobody says anything.
fn usual() -> Limits {
    Limits::default()
}

fn seconds_of(time: Duration) -> String {
    time.as_secs_f64().to_string()
}

/// From a tenth of a second to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    if !(0.1..=86_400.0).contains(&seconds) {
        return Err("0.1 to 86400 seconds are allowed".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
