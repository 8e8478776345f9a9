//! Trust: whom a client believes, and what it shows of itself.
//!
//! Built when the first https URL is fetched, so that nobody else pays for reading certificates
//! and a machine without a CA store can still speak http. TLS 1.2 and 1.3 by rustls; names are
//! checked against the certificate's alternative names only, never its common name. No key log.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Kind};

/// Whom a client believes.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// How certificates are judged.
    pub verify: Verify,
    /// PEM files with the client's own certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// SHA-256 of the server's public key (RFC 7469 §2.4); one of them has to match.
    pub pins: Vec<[u8; 32]>,
}

/// How a server's certificate is judged.
#[derive(Clone, Debug, Default)]
pub enum Verify {
    /// By the system's roots, else by Mozilla's.
    #[default]
    System,
    /// By the roots in this PEM file or folder, and by no others.
    Roots(PathBuf),
    /// By the roots there, which the environment names; if there are none, as `System`.
    Preferred(PathBuf),
    /// Not at all.
    Off,
}

/// Set when the system offered no root certificate; taken by the glue, which warns.
static BUNDLED: AtomicBool = AtomicBool::new(false);

/// True once, when trust rests on the bundled roots because the system has none.
pub fn take_notice_of_bundled_roots() -> bool {
    BUNDLED.load(Ordering::Relaxed) && BUNDLED.swap(false, Ordering::Relaxed)
}

/// The configuration for `trust`; offers the protocols of `alpn`, the preferred one first.
///
/// Reads files: call it where blocking is allowed.
pub(super) fn config(trust: &Trust, alpn: &[&[u8]]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let judge: Arc<dyn ServerCertVerifier> = match &trust.verify {
        Verify::System => judge_by(system_roots(), &provider)?,
        Verify::Preferred(path) => {
            let roots = roots_at(path).map_or_else(|_| bundled_roots(), Arc::new);
            judge_by(roots, &provider)?
        }
        Verify::Roots(path) => judge_by(Arc::new(roots_at(path)?), &provider)?,
        Verify::Off => Arc::new(Unjudged(Arc::clone(&provider))),
    };
    let judge = match trust.pins.as_slice() {
        [] => judge,
        pins => Arc::new(Pinned { judge, pins: pins.to_vec() }),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(judge);
    let mut config = match &trust.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let (chain, key) = identity(chain, key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| unusable(&error))?
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn judge_by(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| Error::new(Kind::Tls, format!("no usable root certificates: {error}")))
}

fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() { bundled_roots() } else { Arc::new(roots) }
    }))
}

/// Mozilla's roots; noted, so that somebody says so.
fn bundled_roots() -> Arc<RootCertStore> {
    BUNDLED.store(true, Ordering::Relaxed);
    Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
}

/// The certificates of a PEM file, or of all files in a folder.
fn roots_at(path: &Path) -> Result<RootCertStore, Error> {
    let unreadable = |error: std::io::Error| {
        Error::system(Kind::File, &format!("cannot read {}", path.display()), &error)
    };
    let mut roots = RootCertStore::empty();
    if path.is_dir() {
        for entry in path.read_dir().map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if let Ok(found) = CertificateDer::pem_file_iter(&file) {
                roots.add_parsable_certificates(found.flatten());
            }
        }
    } else {
        let text = std::fs::read(path).map_err(unreadable)?;
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
    }
    if roots.is_empty() {
        let text = format!("{} holds no certificate in PEM", path.display());
        return Err(Error::new(Kind::Tls, text));
    }
    Ok(roots)
}

fn identity(
    chain: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            Error::system(Kind::File, &format!("cannot read {}", path.display()), &error)
        })
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read(chain)?).flatten().collect();
    if certificates.is_empty() {
        let text = format!("{} holds no certificate in PEM", chain.display());
        return Err(Error::new(Kind::Tls, text));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| {
        Error::new(Kind::Tls, format!("{} holds no private key in PEM", key.display()))
    })?;
    Ok((certificates, key))
}

fn unusable(error: &rustls::Error) -> Error {
    Error::new(Kind::Tls, format!("cannot set up TLS: {error}"))
}

/// Another judge's verdict, and one of the pinned keys on top.
#[derive(Debug)]
struct Pinned {
    judge: Arc<dyn ServerCertVerifier>,
    pins: Vec<[u8; 32]>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.judge.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
        let key = ::ring::digest::digest(
            &::ring::digest::SHA256,
            parsed.subject_public_key_info().as_ref(),
        );
        if self.pins.iter().any(|pin| pin.as_slice() == key.as_ref()) {
            return Ok(verdict);
        }
        Err(rustls::Error::General("the server's public key is not the pinned one".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

/// `verify=False`: any certificate will do, but its key has to sign.
#[derive(Debug)]
struct Unjudged(Arc<CryptoProvider>);

impl ServerCertVerifier for Unjudged {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
