//! The S3 store over TLS: authorities, client certificates, names, lowest versions.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use display_error_chain::DisplayErrorChain;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tempo_backend::{Store, StoreError};
use tempo_config::{S3Config, S3Extras, TlsMinVersion};
use tokio_rustls::TlsAcceptor;

use crate::s3_server::{BUCKET, S3Server, open};

/// A server that wants a client certificate, and the files that clients need: `ca.crt`, `client.crt`, `client.key`.
async fn start(dir: &Path, versions: &[&'static rustls::SupportedProtocolVersion]) -> S3Server {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |names: &[&str]| {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (server, server_key) = issue(&["s3.test"]);
    let (client, client_key) = issue(&["tempo"]);
    for (name, text) in [("ca.crt", authority.pem()), ("client.crt", client), ("client.key", client_key)] {
        fs::write(dir.join(name), text).unwrap();
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(server.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(server_key.as_bytes()).unwrap(),
        )
        .unwrap();
    let root = dir.join("server");
    fs::create_dir_all(root.join(BUCKET)).unwrap();
    S3Server::start_without_bucket(&root, Some(TlsAcceptor::from(Arc::new(config)))).await
}

/// Everything that the server wants.
fn trusted(server: &S3Server, dir: &Path) -> S3Config {
    let path = |name: &str| dir.join(name).display().to_string();
    S3Config {
        insecure: false,
        tls_ca_path: path("ca.crt"),
        tls_cert_path: path("client.crt"),
        tls_key_path: path("client.key"),
        tls_server_name: "s3.test".to_owned(),
        tempo_rs: S3Extras { max_attempts: 1, ..S3Extras::default() },
        ..server.config()
    }
}

async fn failure(config: &S3Config) -> String {
    let error = open(config).await.list("").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    DisplayErrorChain::new(&error).to_string()
}

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn a_private_authority_and_a_client_certificate_work() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), BOTH).await;
    let config = trusted(&server, dir.path());
    let careless = S3Config {
        tls_ca_path: String::new(),
        tls_server_name: String::new(),
        tls_insecure_skip_verify: true,
        ..config.clone()
    };

    let file = dir.path().join("large");
    fs::write(&file, vec![7; (8 << 20) + 1]).unwrap();

    for config in [config, careless] {
        let store = open(&config).await;
        store.put("a/object", Bytes::from_static(b"x")).await.unwrap();
        store.put_file("a/large", &file).await.unwrap();

        assert_eq!(store.get("a/object").await.unwrap(), "x");
        assert_eq!(store.size("a/large").await.unwrap(), (8 << 20) + 1);
        store.delete("a/object").await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_trusted_is_told_with_the_key_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), BOTH).await;
    let config = trusted(&server, dir.path());

    let stranger = failure(&S3Config { tls_ca_path: String::new(), ..config.clone() }).await;
    let other_name = failure(&S3Config { tls_server_name: "other.test".to_owned(), ..config.clone() }).await;
    let plain = failure(&S3Config { insecure: true, ..server.config() }).await;
    failure(&S3Config { tls_cert_path: String::new(), tls_key_path: String::new(), ..config }).await;

    assert!(stranger.contains("storage.trace.s3.tls_ca_path"), "{stranger}");
    assert!(other_name.contains("s3.test") || other_name.contains("tls_server_name"), "{other_name}");
    assert!(plain.contains("storage.trace.s3.endpoint"), "{plain}");
}

#[tokio::test]
async fn the_lowest_version_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &[&rustls::version::TLS12]).await;
    let config = trusted(&server, dir.path());

    assert_eq!(open(&config).await.list("").await.unwrap(), []);
    failure(&S3Config { tls_min_version: TlsMinVersion::Tls13, ..config }).await;
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(&dir.path().join("server")).await;
    let quick = S3Extras { max_attempts: 1, ..S3Extras::default() };

    let told = failure(&S3Config { insecure: false, tempo_rs: quick, ..server.config() }).await;

    assert!(told.contains("storage.trace.s3.insecure"), "{told}");
}
