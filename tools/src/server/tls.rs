//! TLS 1.3, with the node's own certificate or one from files, which are read
//! again when they change.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thingdb::{Db, Hash};
use tokio::sync::Notify;

use super::certificate;
use super::config::{TlsFiles, Transport};
use super::shutdown::Shutdown;
use crate::error::{Exit, Failure, Outcome};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// TLS as new connections get it.
pub(crate) struct Tls {
    current: RwLock<Arc<ServerConfig>>,
    files: Option<Files>,
}

/// What is read again.
struct Files {
    certificate: Option<TlsFiles>,
    /// The node's own, if there are no files for it.
    own: Option<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>)>,
    client_ca: Option<std::path::PathBuf>,
    /// Hashes of what was read last, to see what changes.
    seen: std::sync::Mutex<Vec<Option<Hash>>>,
}

impl Tls {
    /// As `transport` asks for it; nothing for plain HTTP.
    pub(crate) fn new(db: &Db, transport: &Transport) -> Outcome<Option<Self>> {
        let Transport::Tls { files, client_ca } = transport else { return Ok(None) };
        let own = match files {
            Some(_) => None,
            None => {
                let identity = certificate::of_node(db)?;
                let key = PrivatePkcs8KeyDer::from(identity.key.to_vec());
                Some((CertificateDer::from(identity.certificate), key))
            }
        };
        let watched = files.is_some() || client_ca.is_some();
        let files =
            Files { certificate: files.clone(), own, client_ca: client_ca.clone(), seen: std::sync::Mutex::default() };
        files.have_changed();
        let current = RwLock::new(Arc::new(files.load()?));
        Ok(Some(Self { current, files: watched.then_some(files) }))
    }

    /// For a connection that begins now.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        // What is behind the lock is replaced whole.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again when they change, or when somebody asks for it.
    /// What cannot be read leaves everything as it was.
    pub(crate) async fn watch(self: Arc<Self>, shutdown: Shutdown, reread: Arc<Notify>) {
        loop {
            let is_asked = tokio::select! {
                () = reread.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY), if self.files.is_some() => false,
                () = shutdown.requested() => return,
            };
            let tls = Arc::clone(&self);
            // It fails only with a panic, which leaves what was.
            let _ = tokio::task::spawn_blocking(move || tls.reload(is_asked)).await;
        }
    }

    fn reload(&self, is_asked: bool) {
        let Some(files) = &self.files else { return };
        if !files.have_changed() && !is_asked {
            return;
        }
        match files.load() {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!("the certificate was read again");
            }
            Err(failure) => tracing::error!(problem = failure.whole(), "the certificate stays as it was"),
        }
    }
}

impl Files {
    fn paths(&self) -> Vec<&Path> {
        let certificate = self.certificate.iter().flat_map(|files| [files.certificate.as_path(), &files.key]);
        certificate.chain(self.client_ca.as_deref()).collect()
    }

    /// Whether any file holds something else than it did.
    fn have_changed(&self) -> bool {
        let now: Vec<_> =
            self.paths().into_iter().map(|path| std::fs::read(path).ok().map(|bytes| Hash::of(&bytes))).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *seen != now;
        *seen = now;
        changed
    }

    fn load(&self) -> Outcome<ServerConfig> {
        let (chain, key) = match (&self.certificate, &self.own) {
            (Some(files), _) => (chain(&files.certificate)?, key(&files.key)?),
            (None, Some((certificate, key))) => (vec![certificate.clone()], PrivateKeyDer::Pkcs8(key.clone_key())),
            (None, None) => return Err(bad("there is no certificate")),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|problem| bad(problem.to_string()))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|problem| bad(format!("certificate and key: {problem}")).hint("does the key belong to it?"))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn client_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Outcome<Arc<dyn rustls::server::danger::ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|problem| bad(format!("{}: {problem}", path.display())))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|problem| bad(format!("{}: {problem}", path.display())))
}

fn chain(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|problem| bad(format!("{}: {problem}", path.display())))?;
    if chain.is_empty() {
        return Err(bad(format!("{} holds no certificate in PEM", path.display())));
    }
    Ok(chain)
}

fn key(path: &Path) -> Outcome<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|problem| bad(format!("{}: {problem}", path.display())))
}

fn bad(fact: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, "certificate", fact)
}
