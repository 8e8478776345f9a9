//! Trust: built once per process, and only when the first https URL is fetched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Kind};

/// Set when the system offered no root certificate; taken by the glue, which warns.
static BUNDLED: AtomicBool = AtomicBool::new(false);

/// True once, when trust rests on the bundled roots because the system has none.
pub fn take_notice_of_bundled_roots() -> bool {
    BUNDLED.load(Ordering::Relaxed) && BUNDLED.swap(false, Ordering::Relaxed)
}

/// A configuration that trusts the system's roots, else Mozilla's (crate `webpki-roots`).
///
/// Reads files: call it where blocking is allowed.
pub(super) fn with_system_trust() -> Result<ClientConfig, Error> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    config(Arc::clone(ROOTS.get_or_init(|| Arc::new(system_roots()))))
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        BUNDLED.store(true, Ordering::Relaxed);
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn config(roots: impl Into<Arc<RootCertStore>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Tls, error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
