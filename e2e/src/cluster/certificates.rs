//! The cluster's certificate authority, and kubeconfigs with a client certificate in them.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};

/// Who a certificate is for. Kubernetes takes the organization as the group.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) user: &'a str,
    pub(super) group: Option<&'a str>,
    pub(super) names: &'a [&'a str],
    pub(super) addresses: &'a [IpAddr],
}

#[derive(Debug)]
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    folder: PathBuf,
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Authority {
    /// Makes an authority whose files, and those of what it signs, lie in `folder`.
    pub(super) fn create(folder: &Path) -> anyhow::Result<Authority> {
        std::fs::create_dir_all(folder)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test cluster");
        let certificate = params.self_signed(&key)?.pem();
        let authority =
            Authority { issuer: Issuer::new(params, key), certificate, folder: folder.to_owned() };
        std::fs::write(authority.certificate(), &authority.certificate)?;
        Ok(authority)
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A key of its own, for service account tokens.
    pub(super) fn key(&self, name: &str) -> anyhow::Result<Pair> {
        let key = KeyPair::generate()?;
        self.write(name, &key.public_key_pem(), &key.serialize_pem())
    }

    pub(super) fn sign(&self, name: &str, subject: &Subject<'_>) -> anyhow::Result<Pair> {
        let (certificate, key) = self.issue(subject).with_context(|| format!("certificate {name}"))?;
        self.write(name, &certificate, &key)
    }

    /// Writes a kubeconfig that authenticates as this subject.
    pub(super) fn kubeconfig(&self, path: &Path, server: &str, subject: &Subject<'_>) -> anyhow::Result<()> {
        let (certificate, key) = self.issue(subject)?;
        let [authority, certificate, key] =
            [&self.certificate, &certificate, &key].map(|pem| STANDARD.encode(pem));
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": "user", "user": {"client-certificate-data": certificate, "client-key-data": key}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
            "current-context": "test",
        });
        std::fs::write(path, serde_json::to_string_pretty(&config)?)?;
        Ok(())
    }

    fn issue(&self, subject: &Subject<'_>) -> anyhow::Result<(String, String)> {
        let Subject { user, group, names, addresses } = subject;
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, *user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn write(&self, name: &str, public: &str, private: &str) -> anyhow::Result<Pair> {
        let pair = Pair {
            certificate: self.folder.join(format!("{name}.crt")),
            key: self.folder.join(format!("{name}.key")),
        };
        std::fs::write(&pair.certificate, public)?;
        std::fs::write(&pair.key, private)?;
        Ok(pair)
    }
}
