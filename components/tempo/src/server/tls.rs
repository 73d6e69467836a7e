//! TLS of the listeners. Certificates are read again every second; when a file changed and everything parses, new
//! connections get the new ones. When something does not parse, the old ones stay, a metric says so and one warning is
//! logged per change of the files.
//!
//! Established connections are not touched by a reload. Versions are 1.2 and 1.3, the provider is aws-lc-rs.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use display_error_chain::DisplayErrorChain;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tempo_config::{ClientAuthType, TlsMinVersion, TlsServerConfig};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often files are compared with what is served.
const RELOAD_PERIOD: Duration = Duration::from_secs(1);

/// The most a certificate, key or CA file may have.
const MOST_FILE_BYTES: u64 = 4 << 20;

#[derive(Debug, Clone)]
pub struct Metrics {
    reloads: IntCounterVec,
    last_successful: IntGaugeVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let reloads = IntCounterVec::new(
            Opts::new("tempo_server_tls_reloads_total", "Changed TLS files that were read again."),
            &["listener", "outcome"],
        )?;
        let last_successful = IntGaugeVec::new(
            Opts::new("tempo_server_tls_last_reload_successful", "1 if the TLS files on disk are in use."),
            &["listener"],
        )?;
        registry.register(Box::new(reloads.clone()))?;
        registry.register(Box::new(last_successful.clone()))?;
        Ok(Metrics { reloads, last_successful })
    }

    fn reloaded(&self, listener: &str, is_good: bool) {
        let outcome = if is_good { "success" } else { "failure" };
        self.reloads.with_label_values(&[listener, outcome]).inc();
        self.set_good(listener, is_good);
    }

    fn set_good(&self, listener: &str, is_good: bool) {
        self.last_successful.with_label_values(&[listener]).set(i64::from(is_good));
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than {MOST_FILE_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("parse {}", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{} holds no certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("use the authorities of {}", path.display())]
    ClientCa { path: PathBuf, source: VerifierBuilderError },
    #[error("{client_auth:?} needs client_ca_file")]
    NoClientCa { client_auth: ClientAuthType },
    #[error("use certificate and key")]
    Rustls(#[from] rustls::Error),
}

/// The contents of all files of one listener; compared to find out whether anything changed.
#[derive(PartialEq, Eq)]
struct Files {
    certificates: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

/// What one listener serves now, and where it came from.
pub struct TlsStore {
    listener: &'static str,
    config: TlsServerConfig,
    min_version: TlsMinVersion,
    metrics: Metrics,
    served: ArcSwap<ServerConfig>,
    /// The files as last read, whether or not they could be used.
    seen: Mutex<Option<Files>>,
}

impl std::fmt::Debug for TlsStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStore").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl TlsStore {
    /// Reads the files; they must be usable at the start.
    pub fn open(
        listener: &'static str,
        config: TlsServerConfig,
        min_version: TlsMinVersion,
        metrics: Metrics,
    ) -> Result<TlsStore, TlsError> {
        let files = Files::read(&config)?;
        let served = ArcSwap::from_pointee(server_config(&config, min_version, &files)?);
        metrics.set_good(listener, true);
        Ok(TlsStore { listener, config, min_version, metrics, served, seen: Mutex::new(Some(files)) })
    }

    /// Name of its reload loop.
    pub fn name(&self) -> &'static str {
        match self.listener {
            "http" => "tls-http",
            "grpc" => "tls-grpc",
            "internal" => "tls-internal",
            "otlp_grpc" => "tls-otlp-grpc",
            "otlp_http" => "tls-otlp-http",
            "jaeger_grpc" => "tls-jaeger-grpc",
            "jaeger_thrift_http" => "tls-jaeger-thrift-http",
            "zipkin" => "tls-zipkin",
            other => other,
        }
    }

    /// What a connection that is accepted now gets.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.served.load_full()
    }

    /// Compares files and memory every second until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RELOAD_PERIOD) => {}
            }
            let store = Arc::clone(&self);
            let check = tokio::task::spawn_blocking(move || store.reload());
            if let Err(error) = check.await {
                warn!(listener = self.listener, %error, "failed to compare TLS files");
            }
        }
    }

    /// Takes over changed files if they can be used.
    pub fn reload(&self) {
        let mut seen = self.seen.lock();
        let files = match Files::read(&self.config) {
            Ok(files) => files,
            Err(error) => {
                // A file can be missing for a moment while it is replaced: warn once until it changes again.
                if seen.take().is_some() {
                    self.failed(&error);
                }
                return;
            }
        };
        if seen.as_ref() == Some(&files) {
            return;
        }
        match server_config(&self.config, self.min_version, &files) {
            Ok(config) => {
                self.served.store(Arc::new(config));
                self.metrics.reloaded(self.listener, true);
                info!(listener = self.listener, "reloaded TLS certificates");
            }
            Err(error) => self.failed(&error),
        }
        *seen = Some(files);
    }

    fn failed(&self, error: &TlsError) {
        self.metrics.reloaded(self.listener, false);
        let error = DisplayErrorChain::new(error);
        warn!(listener = self.listener, %error, "kept the old TLS certificates: the files cannot be used");
    }
}

impl Files {
    fn read(config: &TlsServerConfig) -> Result<Files, TlsError> {
        let client_authorities = match config.client_ca_file.as_str() {
            "" => None,
            path => Some(read_file(path)?),
        };
        Ok(Files {
            certificates: read_file(&config.cert_file)?,
            key: read_file(&config.key_file)?,
            client_authorities,
        })
    }
}

fn read_file(path: &str) -> Result<Vec<u8>, TlsError> {
    let path = PathBuf::from(path);
    let length = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(source) => return Err(TlsError::Read { path, source }),
    };
    if length > MOST_FILE_BYTES {
        return Err(TlsError::TooLarge { path });
    }
    std::fs::read(&path).map_err(|source| TlsError::Read { path, source })
}

fn certificates(path: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.into(), source })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    Ok(certificates)
}

fn server_config(
    config: &TlsServerConfig,
    min_version: TlsMinVersion,
    files: &Files,
) -> Result<ServerConfig, TlsError> {
    let versions: &[&rustls::SupportedProtocolVersion] = match min_version {
        TlsMinVersion::Tls12 => &[&rustls::version::TLS12, &rustls::version::TLS13],
        TlsMinVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let chain = certificates(&config.cert_file, &files.certificates)?;
    let key = PrivateKeyDer::from_pem_slice(&files.key)
        .map_err(|source| TlsError::Pem { path: (&config.key_file).into(), source })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let builder = match client_verifier(config, files)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut server = builder.with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(server)
}

fn client_verifier(
    config: &TlsServerConfig,
    files: &Files,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let client_auth = config.client_auth_type;
    let is_required = match client_auth {
        ClientAuthType::NoClientCert => return Ok(None),
        ClientAuthType::VerifyClientCertIfGiven => false,
        ClientAuthType::RequireAndVerifyClientCert => true,
    };
    let Some(authorities) = &files.client_authorities else {
        return Err(TlsError::NoClientCa { client_auth });
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.client_ca_file, authorities)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    let verifier = builder
        .build()
        .map_err(|source| TlsError::ClientCa { path: (&config.client_ca_file).into(), source })?;
    Ok(Some(verifier))
}
