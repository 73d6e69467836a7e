//! The HTTP client below the SDK: HTTP/1.1 on hyper, with our TLS settings and our time limits.
//!
//! The SDK's own client knows neither client certificates nor lowest TLS versions. Here a request has a limit from its
//! start to the head of its answer; the body of the answer is bounded by who reads it (`read.rs`). Idle connections
//! are closed before the usual servers do it, so that a request seldom meets a dead one.

use std::{fmt, fs, io, path::PathBuf, sync::Arc, time::Duration};

use aws_sdk_s3::{
    config::{
        HttpClient, RuntimeComponents,
        http::{HttpRequest, HttpResponse},
    },
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    result::ConnectorError,
};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as TcpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject},
};
use tempo_config::{S3Config, TlsMinVersion};
use tracing::warn;

/// Idle connections are closed after this long; servers do it after 20 s and more.
const IDLE: Duration = Duration::from_secs(15);

/// Idle connections that are kept.
const MAX_IDLE: usize = 64;

/// An upload slower than this is taken for stuck.
const MIN_UPLOAD_BYTES_PER_SEC: u64 = 256 * 1024;

/// Why the TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum S3TlsError {
    #[error("read storage.trace.s3.{key} '{}'", path.display())]
    Read { key: &'static str, path: PathBuf, source: io::Error },
    #[error("storage.trace.s3.{key} '{path}' is no PEM file of that kind")]
    Pem { key: &'static str, path: String, source: pem::Error },
    #[error("storage.trace.s3.tls_ca_path '{0}' has no certificate")]
    NoAuthority(String),
    #[error("storage.trace.s3.tls_server_name '{0}' is no host name")]
    ServerName(String),
    #[error("set up TLS for storage.trace.s3")]
    Tls(#[from] rustls::Error),
}

/// Makes the client for the bucket, with the TLS settings of the configuration.
pub(super) fn client(config: &S3Config) -> Result<SharedHttpClient, S3TlsError> {
    let server_name = match config.tls_server_name.as_str() {
        "" => None,
        name => {
            Some(ServerName::try_from(name.to_owned()).map_err(|_| S3TlsError::ServerName(name.to_owned()))?)
        }
    };
    let tls = tls_config(config)?;
    Ok(SharedHttpClient::new(Http::new(tls, server_name, config)))
}

/// Makes the client for whoever gives out credentials: the system's authorities, no settings of ours.
pub(super) fn plain_client(config: &S3Config) -> Result<SharedHttpClient, S3TlsError> {
    let S3Config { insecure, tempo_rs, .. } = config;
    let plain = S3Config { insecure: *insecure, tempo_rs: tempo_rs.clone(), ..S3Config::default() };
    client(&plain)
}

#[derive(Clone)]
struct Http {
    client: Client<HttpsConnector<TcpConnector>, SdkBody>,
    limit: Duration,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Http {
    fn new(tls: ClientConfig, server_name: Option<ServerName<'static>>, config: &S3Config) -> Http {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.tempo_rs.connect_timeout.get()));
        tcp.set_keepalive(Some(IDLE));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match server_name {
            None => builder.enable_http1().wrap_connector(tcp),
            Some(name) => builder
                .with_server_name_resolver(FixedServerNameResolver::new(name))
                .enable_http1()
                .wrap_connector(tcp),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        Http { client, limit: config.tempo_rs.request_timeout.get() }
    }
}

impl HttpClient for Http {
    /// Providers of credentials ask for short limits: most machines have no metadata service.
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let limit = match (settings.connect_timeout(), settings.read_timeout()) {
            (connect, Some(read)) => connect.unwrap_or_default().saturating_add(read),
            (Some(_) | None, None) => self.limit,
        };
        SharedHttpConnector::new(Http { limit, ..self.clone() })
    }
}

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let upload = request.body().content_length().unwrap_or(0) / MIN_UPLOAD_BYTES_PER_SEC;
        let limit = self.limit.saturating_add(Duration::from_secs(upload));
        let answer = self.client.request(request);
        HttpConnectorFuture::new(async move {
            match tokio::time::timeout(limit, answer).await {
                Ok(Ok(response)) => HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                    .map_err(|error| ConnectorError::other(error.into(), None)),
                Ok(Err(error)) => Err(ConnectorError::io(error.into())),
                Err(_) => Err(ConnectorError::timeout(format!("no answer within {limit:?}").into())),
            }
        })
    }
}

fn tls_config(config: &S3Config) -> Result<ClientConfig, S3TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match config.tls_min_version {
        TlsMinVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsMinVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = if config.tls_insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
    } else {
        builder.with_root_certificates(authorities(config)?)
    };
    if config.tls_cert_path.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = certificates("tls_cert_path", &config.tls_cert_path)?;
    let key =
        PrivateKeyDer::from_pem_slice(&read("tls_key_path", &config.tls_key_path)?).map_err(|source| {
            S3TlsError::Pem { key: "tls_key_path", path: config.tls_key_path.clone(), source }
        })?;
    Ok(builder.with_client_auth_cert(chain, key)?)
}

fn authorities(config: &S3Config) -> Result<RootCertStore, S3TlsError> {
    let mut roots = RootCertStore::empty();
    let path = &config.tls_ca_path;
    if !path.is_empty() {
        for certificate in certificates("tls_ca_path", path)? {
            roots.add(certificate)?;
        }
        if roots.is_empty() {
            return Err(S3TlsError::NoAuthority(path.clone()));
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() && !config.insecure {
        warn!("found no certificate authorities on this system, set storage.trace.s3.tls_ca_path");
    }
    Ok(roots)
}

fn certificates(key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, S3TlsError> {
    CertificateDer::pem_slice_iter(&read(key, path)?)
        .collect::<Result<_, _>>()
        .map_err(|source| S3TlsError::Pem { key, path: path.to_owned(), source })
}

fn read(key: &'static str, path: &str) -> Result<Vec<u8>, S3TlsError> {
    fs::read(path).map_err(|source| S3TlsError::Read { key, path: path.into(), source })
}

/// Takes every certificate, as `tls_insecure_skip_verify` asks; the handshake itself is still checked.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
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
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
