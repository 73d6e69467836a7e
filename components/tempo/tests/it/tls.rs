//! TLS and mutual TLS of a listener, and certificates that change on disk.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{Router, http::Request, routing::get};
use bytes::Bytes;
use http_body_util::Full;
use prometheus::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tempo::{
    server::{
        http::{Listener, ListenerOptions, ServeContext},
        metrics,
        tls::{self, TlsStore},
    },
    tasks::Tasks,
};
use tempo_config::{ClientAuthType, ReceiverTlsConfig, TlsMinVersion, TlsServerConfig};
use tempo_model::Waits;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::{http_client, sandbox::Sandbox};

/// An authority that signs what tests need.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key of `name`, in PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

fn write_identity(dir: &Path, (certificate, key): &(String, String)) {
    std::fs::write(dir.join("cert.pem"), certificate).unwrap();
    std::fs::write(dir.join("key.pem"), key).unwrap();
}

fn file(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

fn config(dir: &TempDir, client_auth_type: ClientAuthType) -> TlsServerConfig {
    let client_ca_file = match client_auth_type {
        ClientAuthType::NoClientCert => String::new(),
        ClientAuthType::VerifyClientCertIfGiven | ClientAuthType::RequireAndVerifyClientCert => {
            file(dir, "ca.pem")
        }
    };
    TlsServerConfig {
        cert_file: file(dir, "cert.pem"),
        key_file: file(dir, "key.pem"),
        client_auth_type,
        client_ca_file,
    }
}

/// A listener that answers `hello` over TLS until it is dropped.
struct Server {
    address: SocketAddr,
    store: Arc<TlsStore>,
    registry: Registry,
    _serving: JoinSet<usize>,
}

impl Server {
    async fn start(config: TlsServerConfig, min_version: TlsMinVersion) -> Server {
        let registry = Registry::new();
        let metrics = tls::Metrics::register(&registry).unwrap();
        let store = Arc::new(TlsStore::open("http", config, min_version, metrics).unwrap());
        let mut options = ListenerOptions::new("http", "127.0.0.1:0".to_owned());
        options.tls = Some(Arc::clone(&store));
        let listener = Listener::bind(options).await.unwrap();
        let address = listener.address();
        let context = ServeContext {
            tasks: Tasks::default(),
            waits: Waits::default(),
            metrics: metrics::Metrics::register(&registry).unwrap(),
            grace: Duration::from_secs(1),
        };
        let router = Router::new().route("/", get(async || "hello"));
        let mut serving = JoinSet::new();
        serving.spawn(listener.serve(router, context, CancellationToken::new()));
        Server { address, store, registry, _serving: serving }
    }

    fn is_reload_good(&self) -> bool {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == "tempo_server_tls_last_reload_successful").unwrap();
        family.get_metric()[0].get_gauge().get_value() > 0.5
    }
}

fn client(
    authority: &Authority,
    identity: Option<&(String, String)>,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    }
}

/// The answer's body, or `None` if the connection was refused at any point.
async fn hello(address: SocketAddr, config: ClientConfig) -> Option<String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let request = Request::get("/").header("host", "localhost").body(Full::new(Bytes::new())).unwrap();
    let answer = http_client::exchange(stream, request).await.ok()?;
    Some(answer.text().to_owned())
}

const TLS13: &rustls::SupportedProtocolVersion = &rustls::version::TLS13;
const TLS12: &rustls::SupportedProtocolVersion = &rustls::version::TLS12;

#[tokio::test]
async fn a_changed_certificate_is_served_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    write_identity(dir.path(), &old.sign("localhost"));
    let server = Server::start(config(&dir, ClientAuthType::NoClientCert), TlsMinVersion::Tls12).await;
    assert_eq!(hello(server.address, client(&old, None, TLS13)).await.as_deref(), Some("hello"));

    std::fs::write(dir.path().join("cert.pem"), "not a certificate").unwrap();
    server.store.reload();
    assert_eq!(hello(server.address, client(&old, None, TLS13)).await.as_deref(), Some("hello"));
    assert!(!server.is_reload_good());

    write_identity(dir.path(), &new.sign("localhost"));
    server.store.reload();
    assert_eq!(hello(server.address, client(&new, None, TLS13)).await.as_deref(), Some("hello"));
    assert_eq!(hello(server.address, client(&old, None, TLS13)).await, None);
    assert!(server.is_reload_good());
}

#[tokio::test]
async fn a_certificate_that_does_not_match_its_key_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    write_identity(dir.path(), &authority.sign("localhost"));
    let server = Server::start(config(&dir, ClientAuthType::NoClientCert), TlsMinVersion::Tls12).await;

    let (other_certificate, _) = authority.sign("localhost");
    std::fs::write(dir.path().join("cert.pem"), other_certificate).unwrap();
    server.store.reload();

    assert!(!server.is_reload_good());
    assert_eq!(hello(server.address, client(&authority, None, TLS13)).await.as_deref(), Some("hello"));
}

#[tokio::test]
async fn mutual_tls_lets_in_only_clients_of_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    write_identity(dir.path(), &authority.sign("localhost"));
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let (known, unknown) = (authority.sign("client"), stranger.sign("client"));

    let required = config(&dir, ClientAuthType::RequireAndVerifyClientCert);
    let required = Server::start(required, TlsMinVersion::Tls12).await;
    let optional = config(&dir, ClientAuthType::VerifyClientCertIfGiven);
    let optional = Server::start(optional, TlsMinVersion::Tls12).await;

    for (server, identity, is_let_in) in [
        (&required, Some(&known), true),
        (&required, Some(&unknown), false),
        (&required, None, false),
        (&optional, Some(&known), true),
        (&optional, Some(&unknown), false),
        (&optional, None, true),
    ] {
        let answer = hello(server.address, client(&authority, identity, TLS13)).await;
        assert_eq!(answer.is_some(), is_let_in, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_speaks_tls_where_it_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    write_identity(dir.path(), &authority.sign("localhost"));
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let mut sandbox = Sandbox::new();
    sandbox.config.server.http_tls_config = config(&dir, ClientAuthType::NoClientCert);
    let protocols = &mut sandbox.config.distributor.receivers.otlp.as_mut().unwrap().protocols;
    protocols.http.as_mut().unwrap().tls = ReceiverTlsConfig {
        cert_file: file(&dir, "cert.pem"),
        key_file: file(&dir, "key.pem"),
        client_ca_file: file(&dir, "ca.pem"),
        ..ReceiverTlsConfig::default()
    };
    let running = sandbox.start().await;
    let addresses = running.app.addresses();
    let otlp = addresses.receivers.otlp_http.unwrap();
    let identity = authority.sign("client");

    // Both answer 404 to `/`; what matters is who gets as far as that.
    assert!(hello(addresses.http, client(&authority, None, TLS13)).await.is_some());
    assert!(hello(otlp, client(&authority, Some(&identity), TLS13)).await.is_some());
    assert!(hello(otlp, client(&authority, None, TLS13)).await.is_none());
    running.stop().await;
}

#[tokio::test]
async fn the_least_version_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    write_identity(dir.path(), &authority.sign("localhost"));
    let lax = Server::start(config(&dir, ClientAuthType::NoClientCert), TlsMinVersion::Tls12).await;
    let strict = Server::start(config(&dir, ClientAuthType::NoClientCert), TlsMinVersion::Tls13).await;

    assert!(hello(lax.address, client(&authority, None, TLS12)).await.is_some());
    assert!(hello(strict.address, client(&authority, None, TLS12)).await.is_none());
    assert!(hello(strict.address, client(&authority, None, TLS13)).await.is_some());
}

#[test]
fn files_that_cannot_be_used_at_the_start_are_an_error_that_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = tls::Metrics::register(&Registry::new()).unwrap();
    let open = || {
        TlsStore::open(
            "http",
            config(&dir, ClientAuthType::NoClientCert),
            TlsMinVersion::Tls12,
            metrics.clone(),
        )
    };
    assert!(open().unwrap_err().to_string().contains("cert.pem"));

    write_identity(dir.path(), &("empty".to_owned(), "empty".to_owned()));
    assert!(open().unwrap_err().to_string().ends_with("holds no certificate"));
}
