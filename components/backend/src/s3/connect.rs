//! From the configuration to an SDK client: endpoint, region, credentials, signing and checksums.
//!
//! No request is made here but the ones that find out a region nobody named. Retries and time limits of the SDK are
//! off: `retry.rs`, `http.rs` and `read.rs` have ours.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, SdkConfig, default_provider::region::DefaultRegionChain,
    environment::EnvironmentVariableRegionProvider, meta::region::ProvideRegion,
    profile::ProfileFileRegionProvider, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_s3::{
    Client,
    config::{
        Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig,
    },
};
use tempo_config::{S3Checksums, S3Config};

use super::http::{self, S3TlsError};

/// The region where nobody names one; also what servers that are not Amazon's expect.
const DEFAULT_REGION: &str = "us-east-1";

/// How long a machine's metadata service may take to name the region.
const REGION_LIMIT: Duration = Duration::from_secs(5);

/// Where the service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `None` if the SDK knows it by the region.
    pub(super) url: Option<String>,
    /// `None` if nobody said.
    pub(super) region: Option<String>,
    pub(super) path_style: bool,
    pub(super) dual_stack: bool,
    pub(super) fips: bool,
    pub(super) is_amazon: bool,
}

impl Place {
    pub(super) fn new(config: &S3Config) -> Place {
        let host = config.endpoint.trim_end_matches('/');
        let amazon = AmazonHost::parse(host);
        let is_amazon = host.is_empty() || amazon.is_some() || host.ends_with(".amazonaws.com");
        let scheme = if config.insecure { "http" } else { "https" };
        // Amazon's names are made by the SDK, which knows how a bucket, dual stack and FIPS go into them.
        let is_made_by_sdk = host.is_empty() || amazon.is_some() && !config.insecure;
        let by_endpoint = !is_amazon || config.bucket.contains('.') && !config.insecure;
        let named = amazon.clone().unwrap_or_default();
        Place {
            url: (!is_made_by_sdk).then(|| format!("{scheme}://{host}")),
            region: match config.region.as_str() {
                "" => named.region,
                region => Some(region.to_owned()),
            },
            path_style: match config.bucket_lookup_type {
                1 => false,
                2 => true,
                _ => config.forcepathstyle || by_endpoint,
            },
            dual_stack: config.enable_dual_stack || named.dual_stack,
            fips: named.fips,
            is_amazon,
        }
    }

    /// The region to sign for.
    async fn find_region(&self) -> Region {
        if let Some(region) = &self.region {
            return Region::new(region.clone());
        }
        let found = if self.is_amazon {
            let ask = DefaultRegionChain::builder().build();
            tokio::time::timeout(REGION_LIMIT, ask.region()).await.ok().flatten()
        } else {
            match EnvironmentVariableRegionProvider::new().region().await {
                Some(region) => Some(region),
                None => ProfileFileRegionProvider::new().region().await,
            }
        };
        found.unwrap_or_else(|| Region::from_static(DEFAULT_REGION))
    }
}

/// What the usual names of Amazon's endpoints say: `s3[-fips][.dualstack][.<region>].amazonaws.com[.cn]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct AmazonHost {
    region: Option<String>,
    dual_stack: bool,
    fips: bool,
}

impl AmazonHost {
    /// `None` for any other name, such as those of VPC endpoints.
    fn parse(host: &str) -> Option<AmazonHost> {
        let name = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
        let mut found = AmazonHost::default();
        let mut parts = name.split('.');
        match parts.next()? {
            "s3" => {}
            "s3-fips" => found.fips = true,
            old => found.region = Some(old.strip_prefix("s3-")?.to_owned()),
        }
        for part in parts {
            match part {
                "dualstack" => found.dual_stack = true,
                region if found.region.is_none() => found.region = Some(region.to_owned()),
                _ => return None,
            }
        }
        Some(found)
    }
}

/// Makes a client with fresh credentials: keys from the configuration, or whatever the environment has now.
pub(super) async fn connect(config: &S3Config) -> Result<Client, S3TlsError> {
    let place = Place::new(config);
    let region = place.find_region().await;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http::plain_client(config)?)
        .region(region)
        .use_dual_stack(place.dual_stack)
        .use_fips(place.fips);
    if !config.access_key.is_empty() {
        let token = config.session_token.expose();
        let token = (!token.is_empty()).then(|| token.to_owned());
        let (key, secret) = (config.access_key.clone(), config.secret_key.expose().to_owned());
        loader = loader.credentials_provider(Credentials::new(key, secret, token, None, "storage.trace.s3"));
    }
    let shared: SdkConfig = loader.load().await;
    let mut builder = aws_sdk_s3::config::Builder::from(&shared)
        .http_client(http::client(config)?)
        .force_path_style(place.path_style)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(url) = place.url {
        builder = builder.endpoint_url(url);
    }
    let (request, response) = match config.tempo_rs.checksums {
        S3Checksums::WhenRequired => {
            (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
        }
        S3Checksums::WhenSupported => {
            (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
        }
    };
    let builder = builder.request_checksum_calculation(request).response_checksum_validation(response);
    Ok(Client::from_conf(builder.build()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(endpoint: &str) -> Place {
        let config =
            S3Config { bucket: "traces".to_owned(), endpoint: endpoint.to_owned(), ..S3Config::default() };
        Place::new(&config)
    }

    #[test]
    fn names_of_amazon_say_the_region_and_are_left_to_the_sdk() {
        for (endpoint, region, dual_stack, fips) in [
            ("s3.amazonaws.com", None, false, false),
            ("s3.eu-central-1.amazonaws.com", Some("eu-central-1"), false, false),
            ("s3-eu-west-1.amazonaws.com", Some("eu-west-1"), false, false),
            ("s3.dualstack.eu-central-1.amazonaws.com", Some("eu-central-1"), true, false),
            ("s3-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1"), false, true),
            ("s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1"), false, false),
        ] {
            let expected = Place {
                url: None,
                region: region.map(str::to_owned),
                path_style: false,
                dual_stack,
                fips,
                is_amazon: true,
            };
            assert_eq!(place(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn other_endpoints_are_spoken_to_in_path_style_as_they_are() {
        let minio = place("minio:9000");
        let vpc = place("bucket.vpce-1-2.s3.eu-west-1.vpce.amazonaws.com");

        assert_eq!((minio.url.as_deref(), minio.path_style), (Some("https://minio:9000"), true));
        assert_eq!(minio.region, None);
        assert_eq!(vpc.url.as_deref(), Some("https://bucket.vpce-1-2.s3.eu-west-1.vpce.amazonaws.com"));
        assert!(!vpc.path_style);
    }

    #[test]
    fn the_lookup_type_and_dots_in_the_bucket_decide_the_style() {
        let style = |bucket: &str, lookup: u8, force: bool| {
            let config = S3Config {
                bucket: bucket.to_owned(),
                bucket_lookup_type: lookup,
                forcepathstyle: force,
                ..S3Config::default()
            };
            Place::new(&config).path_style
        };

        assert!(!style("traces", 0, false));
        // Certificates cover one label before the endpoint.
        assert!(style("my.traces", 0, false));
        assert!(style("traces", 0, true));
        assert!(style("traces", 2, false));
        assert!(!style("my.traces", 1, false));
    }
}
