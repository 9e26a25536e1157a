//! Who signed a token: the one signature of a SignedData, and what it covers.

use cms::signed_data::{SignerIdentifier, SignerInfo};
use der::asn1::{Any, ObjectIdentifier, OctetString};
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use ring::digest;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::{EndEntityCert, ring as algorithms};
use x509_cert::Certificate;
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::structures::{
    CONTENT_TYPE, MESSAGE_DIGEST, SHA1, SHA256, SHA384, SHA512, SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2,
    SigningCertificate, SigningCertificateV2, TIME_STAMPING, TST_INFO,
};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The signer of a token: its signature is good, and covers the certificate.
pub(super) struct Signer {
    /// The certificate, in DER.
    pub(super) certificate: Vec<u8>,
    /// Its subject.
    pub(super) name: String,
}

impl Signer {
    /// Checks what `info` signs: the content, and which of the certificates is its own.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn check(info: &SignerInfo, content: &[u8], certificates: &[Vec<u8>]) -> Result<Self, String> {
        let attribute = |of: ObjectIdentifier| only(info, of);
        let content_type: ObjectIdentifier = decoded("content type", &attribute(CONTENT_TYPE)?)?;
        if content_type != TST_INFO {
            return Err("its signature is of another content".to_owned());
        }
        let named: OctetString = decoded("message digest", &attribute(MESSAGE_DIGEST)?)?;
        if named.as_bytes() != hash(&info.digest_alg.oid, content)?.as_ref() {
            return Err("the digest that is signed is not that of its content".to_owned());
        }
        let certificate = own_certificate(info, certificates)?;
        let attributes = info.signed_attrs.as_ref().ok_or("it signs no attributes")?;
        let signed = attributes.to_der().map_err(|problem| problem.to_string())?;
        verify(info, &certificate, &signed)?;
        let parsed = Certificate::from_der(&certificate)
            .map_err(|problem| format!("the certificate of its signer cannot be read: {problem}"))?;
        check_purpose(&parsed)?;
        if let SignerIdentifier::IssuerAndSerialNumber(named) = &info.sid
            && (named.issuer != parsed.tbs_certificate.issuer
                || named.serial_number != parsed.tbs_certificate.serial_number)
        {
            return Err("it names another signer than the certificate is of".to_owned());
        }
        Ok(Self { certificate, name: parsed.tbs_certificate.subject.to_string() })
    }
}

/// The one value of a signed attribute that is there once.
fn only(info: &SignerInfo, of: ObjectIdentifier) -> Result<Any, String> {
    optional(info, of)?.ok_or_else(|| format!("it signs no attribute {of}"))
}

fn optional(info: &SignerInfo, of: ObjectIdentifier) -> Result<Option<Any>, String> {
    let mut found = info.signed_attrs.iter().flat_map(|all| all.iter()).filter(|attribute| attribute.oid == of);
    let Some(attribute) = found.next() else { return Ok(None) };
    match (attribute.values.get(0), attribute.values.len(), found.next()) {
        (Some(value), 1, None) => Ok(Some(value.clone())),
        _ => Err(format!("it signs several values of {of}")),
    }
}

fn decoded<T: for<'a> Decode<'a>>(what: &str, value: &Any) -> Result<T, String> {
    let bytes = value.to_der().map_err(|problem| problem.to_string())?;
    T::from_der(&bytes).map_err(|problem| format!("its {what} cannot be read: {problem}"))
}

/// The certificate that the signature covers, by its hash (RFC 5035).
fn own_certificate(info: &SignerInfo, certificates: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut named = Vec::new();
    if let Some(value) = optional(info, SIGNING_CERTIFICATE_V2)? {
        let read: SigningCertificateV2 = decoded("signing certificate", &value)?;
        let first = read.certs.into_iter().next().ok_or("it names no signing certificate")?;
        named.push((first.hash_algorithm.map_or(SHA256, |algorithm| algorithm.oid), first.hash));
    }
    if let Some(value) = optional(info, SIGNING_CERTIFICATE)? {
        let read: SigningCertificate = decoded("signing certificate", &value)?;
        named.push((SHA1, read.certs.into_iter().next().ok_or("it names no signing certificate")?.hash));
    }
    if named.is_empty() {
        return Err("its signature does not cover the certificate of its signer".to_owned());
    }
    let is_named = |certificate: &&Vec<u8>| {
        named
            .iter()
            .all(|(algorithm, named)| hash(algorithm, certificate).is_ok_and(|hash| hash.as_ref() == named.as_bytes()))
    };
    certificates.iter().find(is_named).cloned().ok_or_else(|| "it does not bring the certificate of its signer".into())
}

/// For timestamps and nothing else, and whoever does not know that may not take it
/// (RFC 3161, section 2.3).
fn check_purpose(certificate: &Certificate) -> Result<(), String> {
    let bad = || Err("the certificate of its signer is not for timestamps and nothing else".to_owned());
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let mut usages = extensions.filter(|extension| extension.extn_id == ExtendedKeyUsage::OID);
    let (Some(usage), None) = (usages.next(), usages.next()) else { return bad() };
    let purposes = ExtendedKeyUsage::from_der(usage.extn_value.as_bytes()).map_err(|problem| problem.to_string())?;
    if usage.critical && purposes.0 == [TIME_STAMPING] { Ok(()) } else { bad() }
}

/// The hash with an algorithm that a token may name. SHA-1 only names certificates.
fn hash(algorithm: &ObjectIdentifier, bytes: &[u8]) -> Result<digest::Digest, String> {
    let algorithm = match *algorithm {
        SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        SHA256 => &digest::SHA256,
        SHA384 => &digest::SHA384,
        SHA512 => &digest::SHA512,
        other => return Err(format!("a hash that is not known here: {other}")),
    };
    Ok(digest::digest(algorithm, bytes))
}

fn verify(info: &SignerInfo, certificate: &[u8], signed: &[u8]) -> Result<(), String> {
    let (digest, signature) = (info.digest_alg.oid, info.signature_algorithm.oid);
    let known: &[&dyn SignatureVerificationAlgorithm] = match (signature, digest) {
        (RSA | RSA_SHA256, SHA256) => &[algorithms::RSA_PKCS1_2048_8192_SHA256],
        (RSA | RSA_SHA384, SHA384) => &[algorithms::RSA_PKCS1_2048_8192_SHA384],
        (RSA | RSA_SHA512, SHA512) => &[algorithms::RSA_PKCS1_2048_8192_SHA512],
        (RSA_PSS, SHA256) => &[algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        (RSA_PSS, SHA384) => &[algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        (RSA_PSS, SHA512) => &[algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        (ECDSA_SHA256, SHA256) => &[algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256],
        (ECDSA_SHA384, SHA384) => &[algorithms::ECDSA_P384_SHA384, algorithms::ECDSA_P256_SHA384],
        (ED25519, SHA512) => &[algorithms::ED25519],
        _ => return Err(format!("a signature that is not known here: {signature} with {digest}")),
    };
    let certificate = CertificateDer::from(certificate);
    let signer = EndEntityCert::try_from(&certificate).map_err(|problem| problem.to_string())?;
    let value = info.signature.as_bytes();
    if known.iter().any(|algorithm| signer.verify_signature(*algorithm, signed, value).is_ok()) {
        return Ok(());
    }
    Err("its signature is not good".to_owned())
}
