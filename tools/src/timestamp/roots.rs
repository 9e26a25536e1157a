//! The roots that somebody trusts, and whether the certificate of a signer leads to
//! one of them.

use std::time::Duration;

use der::Decode;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;

/// The purpose of a certificate that signs timestamps: the bytes of its OID.
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// Certificates of authorities that somebody trusts.
pub(crate) struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// Those in a PEM file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let roots = roots.map_err(|problem| problem.to_string())?;
        if roots.is_empty() {
            return Err("it has no certificate".to_owned());
        }
        for root in &roots {
            anchor_from_trusted_cert(root).map_err(|problem| problem.to_string())?;
            Certificate::from_der(root).map_err(|problem| problem.to_string())?;
        }
        Ok(Self(roots))
    }

    /// Whether the certificate `signer` leads to a root by those of `others`, all of
    /// them valid at `seconds` since 1970, and is for timestamps.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn lead_to(&self, signer: &[u8], others: &[Vec<u8>], seconds: u64) -> Result<(), String> {
        let is_valid = |root: &&CertificateDer<'_>| {
            Certificate::from_der(root).is_ok_and(|root| {
                let validity = root.tbs_certificate.validity;
                let within = validity.not_before.to_unix_duration()..=validity.not_after.to_unix_duration();
                within.contains(&Duration::from_secs(seconds))
            })
        };
        let valid: Vec<_> = self.0.iter().filter(is_valid).collect();
        if valid.is_empty() {
            return Err("no root was valid at the time of the token".to_owned());
        }
        let anchors: Result<Vec<_>, _> = valid.into_iter().map(anchor_from_trusted_cert).collect();
        let anchors = anchors.map_err(|problem| problem.to_string())?;
        let others: Vec<_> = others.iter().map(|other| CertificateDer::from(other.as_slice())).collect();
        let signer = CertificateDer::from(signer);
        let signer = EndEntityCert::try_from(&signer).map_err(|problem| problem.to_string())?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        // That of the signer itself is looked at where its signature is.
        let usage = KeyUsage::required_if_present(TIME_STAMPING);
        signer
            .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &others, time, usage, None, None)
            .map(drop)
            .map_err(|problem| format!("its certificate leads to no root that you trust{}", told(&problem)))
    }
}

/// What is wrong on the way to a root, as far as there are words for it.
fn told(problem: &webpki::Error) -> String {
    match problem {
        webpki::Error::UnknownIssuer => String::new(),
        webpki::Error::CertExpired { .. } => ": it, or one on the way, had run out".to_owned(),
        webpki::Error::CertNotValidYet { .. } => ": it, or one on the way, was not valid yet".to_owned(),
        problem => format!(": {problem}"),
    }
}
