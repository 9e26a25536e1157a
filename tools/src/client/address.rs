//! Where a server is: `https://HOST[:PORT]`.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// The port of HTTPS.
const DEFAULT_PORT: u16 = 443;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
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
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("https://").ok_or("it does not begin with https://")?;
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
                "" => DEFAULT_PORT,
                port => port_of(port.strip_prefix(':').ok_or("after the bracket only a port may stand")?)?,
            };
            (host, port)
        } else {
            match rest.split_once(':') {
                Some((host, port)) => (host, port_of(port)?),
                None => (rest, DEFAULT_PORT),
            }
        };
        let address = Self { host: host.to_owned(), port };
        address.server_name().map_err(|_| "the host is neither a name nor an IP address")?;
        Ok(address)
    }
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
}
