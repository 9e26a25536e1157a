//! Where a server is: `https://HOST[:PORT]`, and on this machine also
//! `http://HOST[:PORT]`.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// The ports of HTTPS and of plain HTTP.
const DEFAULT_PORT: u16 = 443;
const PLAIN_PORT: u16 = 80;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
    /// Without TLS.
    plain: bool,
    /// Without TLS also elsewhere than on this machine.
    open: bool,
}

impl Address {
    /// The address of a server that may be on this machine and speak plain
    /// HTTP.
    pub(crate) fn of_url(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix("http://") else { return text.parse() };
        let address = Self::after_scheme(rest, PLAIN_PORT)?;
        if address.host != "localhost" && !address.host.parse().is_ok_and(|host: IpAddr| host.is_loopback()) {
            return Err("plain HTTP would show the token to the network: https://, unless it is loopback");
        }
        Ok(Self { plain: true, ..address })
    }

    /// The address of a server to which nothing is said that others may not hear, and
    /// whose answers prove themselves: it may speak plain HTTP anywhere.
    pub(crate) fn of_open_url(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix("http://") else { return text.parse() };
        Ok(Self { plain: true, open: true, ..Self::after_scheme(rest, PLAIN_PORT)? })
    }

    /// Whether it may be spoken to without TLS also elsewhere than on this machine.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// Whether it is spoken to without TLS.
    pub(crate) const fn is_plain(&self) -> bool {
        self.plain
    }

    /// A name or an IP address, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The host as TLS names it.
    pub(crate) fn server_name(&self) -> io::Result<ServerName<'static>> {
        ServerName::try_from(self.host.clone()).map_err(io::Error::other)
    }

    /// What stands in the header `Host`.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.plain { "http" } else { "https" }, self.authority())
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::after_scheme(text.strip_prefix("https://").ok_or("it does not begin with https://")?, DEFAULT_PORT)
    }
}

impl Address {
    fn after_scheme(rest: &str, default_port: u16) -> Result<Self, &'static str> {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("after the host and port nothing may stand");
        }
        let port_of = |port: &str| match port.parse() {
            Ok(port) if port != 0 && port_is_plain(rest) => Ok(port),
            _ => Err("the port is no number from 1 to 65535"),
        };
        let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or("a bracket is not closed")?;
            let port = match port {
                "" => default_port,
                port => port_of(port.strip_prefix(':').ok_or("after the bracket only a port may stand")?)?,
            };
            (host, port)
        } else {
            match rest.split_once(':') {
                Some((host, port)) => (host, port_of(port)?),
                None => (rest, default_port),
            }
        };
        let address = Self { host: host.to_owned(), port, plain: false, open: false };
        address.server_name().map_err(|_| "the host is neither a name nor an IP address")?;
        Ok(address)
    }
}

/// The part of a URL that names a server, and the path behind it.
///
/// # Errors
/// What is wrong with the path.
pub(crate) fn with_path(url: &str) -> Result<(&str, &str), &'static str> {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    let (head, path) = match url.get(start..).and_then(|rest| rest.find('/')) {
        Some(slash) => url.split_at(start + slash),
        None => (url, ""),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
    if path.bytes().all(is_plain) { Ok((head, path)) } else { Err("its path has characters that no path has") }
}

/// `parse` takes a plus sign.
fn port_is_plain(text: &str) -> bool {
    !text.contains('+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for (text, host, port) in [
            ("https://a.example:5001", "a.example", 5001),
            ("https://a.example/", "a.example", 443),
            ("https://127.0.0.1:1", "127.0.0.1", 1),
            ("https://[::1]:5001", "::1", 5001),
            ("https://[::1]", "::1", 443),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port), (host, port));
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
        for text in [
            "http://a.example:5001",
            "a.example:5001",
            "https://",
            "https://a.example:0",
            "https://a.example:+1",
            "https://a.example:70000",
            "https://a.example:1/x",
            "https://u:p@a.example:1",
            "https://a b:1",
            "https://[::1",
            "https://[::1]x",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for (text, shown) in [
            ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
            ("http://[::1]", "http://[::1]:80"),
            ("http://localhost/", "http://localhost:80"),
            ("https://a.example", "https://a.example:443"),
        ] {
            assert_eq!(Address::of_url(text).unwrap().to_string(), shown);
        }
        for text in
            ["http://a.example", "http://10.0.0.1:80", "http://localhost.example", "http://127.0.0.1@x", "ftp://a"]
        {
            assert!(Address::of_url(text).is_err(), "{text}");
        }
        // But to whom nothing secret is said.
        let open = Address::of_open_url("http://a.example").unwrap();
        assert_eq!((open.to_string().as_str(), open.is_open()), ("http://a.example:80", true));
        assert!(!Address::of_open_url("https://a.example").unwrap().is_plain());
        assert!(Address::of_open_url("ftp://a").is_err());
    }
}
