//! The certificate that a node makes for itself. Peers know it by its
//! fingerprint on the card, so nobody has to vouch for it.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use thingdb::{Db, TlsIdentity};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Exit, Failure, Outcome};

/// The names under which the certificate is good without a pin.
const NAMES: [&str; 4] = ["thingdb", "localhost", "127.0.0.1", "::1"];

/// The node's certificate, made now if it has none.
pub(crate) fn of_node(db: &Db) -> Outcome<TlsIdentity> {
    match db.tls_identity()? {
        Some(identity) => Ok(identity),
        None => renew(db),
    }
}

/// A new certificate with a new key, in the place of what the node had.
pub(crate) fn renew(db: &Db) -> Outcome<TlsIdentity> {
    let identity = make().map_err(|problem| {
        Failure::new(Exit::Unexpected, "certificate", format!("no certificate could be made: {problem}"))
    })?;
    db.set_tls_identity(&identity)?;
    Ok(identity)
}

/// Makes a self-signed certificate with a key of its own. It tells nothing of
/// the node: whoever connects sees it before any token is asked for.
fn make() -> Result<TlsIdentity, rcgen::Error> {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    // What is pinned is replaced by hand: it must not run out by itself, nor be
    // too young for a node whose clock lags.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "thingdb");
    params.distinguished_name = name;
    let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?.der().to_vec();
    let der = Zeroizing::new(key.serialize_der());
    key.zeroize();
    Ok(TlsIdentity { certificate, key: der })
}

/// The certificate as text (RFC 7468).
pub(crate) fn pem(identity: &TlsIdentity) -> String {
    let text = data_encoding::BASE64.encode(&identity.certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
