//! Printing: what is printed reads back the same, secrets do not show, digests change with what a target reads.

use proptest::prelude::*;
use tempo_config::{ByteSize, Config, GoDuration, ReceiversConfig, Target, Value};

use crate::{print, read};

fn valid(text: &str) -> tempo_config::ValidConfig {
    read(text).expect("can be read").config.validate().expect("is valid")
}

#[test]
fn printed_configurations_read_back_without_remarks() {
    for config in [Config::default(), Config::embedded_default(), Config::clone(&valid(SAMPLE))] {
        let yaml = config.clone().validate().unwrap().to_yaml();

        let parsed = read(&yaml).unwrap();

        assert_eq!(parsed.config, config);
        assert_eq!(print(parsed.warnings), Vec::<String>::new());
    }
}

const SAMPLE: &str = "
distributor: {receivers: {otlp: {protocols: {http: {endpoint: 'localhost:1'}}}}}
overrides: {ingestion_retry_info_enabled: false}
storage: {trace: {block: {parquet_dedicated_columns: [{scope: span, name: x, type: string}]}}}
";

#[test]
fn defaults_are_printed_in_the_order_of_the_types() {
    let yaml = Config::defaults_to_yaml();

    assert_eq!(yaml, include_str!("samples/defaults.yaml"));
}

#[test]
fn the_difference_to_the_defaults_is_printed_alone() {
    let config = valid(
        "server: {http_listen_port: 3300}\ningester: {trace_idle_period: 5s, max_block_duration: 90s}\n",
    );

    assert_eq!(
        config.diff_to_yaml(),
        "server:\n  http_listen_port: 3300\ningester:\n  max_block_duration: 1m30s\n"
    );
    assert_eq!(valid("").diff_to_yaml(), "{}\n");
}

#[test]
fn the_embedded_default_listens_on_localhost_and_writes_below_tempo_data() {
    let config = Config::embedded_default().validate().unwrap();

    assert_eq!(
        config.diff_to_yaml(),
        "\
server:
  http_listen_address: localhost
  grpc_listen_address: localhost
internal_server:
  http_listen_address: localhost
distributor:
  receivers:
    jaeger:
      protocols:
        thrift_compact:
          endpoint: localhost:6831
          queue_size: 1000
          max_packet_size: 65000
          workers: 10
          socket_buffer_size: 0
        thrift_binary:
          endpoint: localhost:6832
          queue_size: 1000
          max_packet_size: 65000
          workers: 10
          socket_buffer_size: 0
      remote_sampling:
        host_endpoint: localhost:5778
        tempo_rs:
          sampling_rate: 1.0
    zipkin:
      endpoint: localhost:9411
      tls:
        cert_file: ''
        key_file: ''
        client_ca_file: ''
        min_version: '1.2'
      max_request_body_size: 0
      parse_string_tags: false
storage:
  trace:
    local:
      path: ./tempo-data/blocks
    wal:
      path: ./tempo-data/wal
"
    );
}

#[test]
fn secrets_do_not_show() {
    let text = "storage: {trace: {s3: {access_key: AK, secret_key: hunter2}, azure: {storage_account_key: '${AZURE_KEY}'}}}";
    let config = valid(text);

    let yaml = config.to_yaml();
    assert!(!yaml.contains("hunter2") && yaml.contains("secret_key: <redacted>"), "{yaml}");
    assert!(yaml.contains("storage_account_key: ${AZURE_KEY}"), "{yaml}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_placeholder_whose_default_is_a_secret_does_not_show() {
    let config = valid("storage: {trace: {s3: {secret_key: '${KEY:-hunter2}'}}}");

    assert!(!config.to_yaml().contains("hunter2"));
}

#[test]
fn digests_change_with_the_sections_of_their_target_only() {
    let plain = valid("");
    let changed = |text: &str| {
        let other = valid(text);
        Target::ALL
            .into_iter()
            .filter(|target| plain.digest(*target) != other.digest(*target))
            .collect::<Vec<_>>()
    };

    assert_eq!(
        changed("ingester: {concurrent_flushes: 5}"),
        [Target::All, Target::ScalableSingleBinary, Target::Ingester]
    );
    assert_eq!(
        changed("query_frontend: {max_retries: 5}"),
        [Target::All, Target::ScalableSingleBinary, Target::QueryFrontend]
    );
    assert_eq!(changed("server: {log_level: debug}"), Target::ALL);
    assert_eq!(changed("ingester: {concurrent_flushes: 4}"), []);
    assert_eq!(plain.digest(Target::All).to_string().len(), 16);
}

#[test]
fn fragments_are_laid_over() {
    let base =
        read("server: {http_listen_port: 1, log_level: warn}\nstorage: {trace: {s3: {secret_key: hunter2}}}")
            .unwrap();
    let fragment: Value = serde_yaml::from_str(
        "server: {http_listen_port: 2}\nmemberlist: {bind_port: 1}\noverrides: {max_traces_per_user: 3}",
    )
    .unwrap();

    let parsed = base.config.clone().overlay(&fragment).unwrap();

    let mut expected = base.config;
    expected.server.http_listen_port = 2;
    expected.overrides.defaults.ingestion.max_traces_per_user = 3;
    assert_eq!(parsed.config, expected);
    assert_eq!(parsed.config.storage.trace.s3.secret_key.expose(), "hunter2");
    assert_eq!(parsed.warnings.len(), 1);
}

#[test]
fn fragments_are_checked() {
    let fragment: Value =
        serde_yaml::from_str("server: {http_listen_prt: 2}\ningester: {max_block_bytes: x}").unwrap();

    let found = print(Config::default().overlay(&fragment).unwrap_err());

    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        found[0],
        "server.http_listen_prt: Tempo has no such key; did you mean `server.http_listen_port`?"
    );
}

prop_compose! {
    fn any_config()(
        port in 1..4_000_u16,
        tenants: bool,
        nanos: u64,
        bytes: u64,
        path in "[ -~é\n]{1,20}",
        retry: Option<bool>,
        attribute: Option<u32>,
        share in 0.000_1..0.9_f64,
        has_receivers: bool,
    ) -> Config {
        let mut config = Config { multitenancy_enabled: tenants, ..Config::default() };
        config.server.http_listen_port = port;
        config.shutdown_delay = GoDuration::from(std::time::Duration::from_nanos(nanos));
        config.ingester.max_block_bytes = ByteSize::from_bytes(bytes.max(1));
        config.storage.trace.local.path = path;
        config.storage.trace.block.bloom_filter_false_positive = share;
        config.overrides.defaults.ingestion.retry_info_enabled = retry;
        config.overrides.defaults.ingestion.max_attribute_bytes = attribute.map(|n| ByteSize::from_bytes(n.into()));
        if !has_receivers {
            config.distributor.receivers = ReceiversConfig { otlp: None, jaeger: None, zipkin: None };
        }
        config
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_configuration_reads_back_as_it_was_printed(config in any_config()) {
        let Ok(valid) = config.clone().validate() else { return Ok(()) };

        let parsed = read(&valid.to_yaml());

        prop_assert_eq!(parsed.map(|parsed| parsed.config), Ok(config));
    }

    #[test]
    fn what_differs_reads_back_as_the_whole(config in any_config()) {
        // A receiver that is off is missing, which a difference cannot show.
        prop_assume!(config.distributor.receivers.otlp.is_some());
        let Ok(valid) = config.clone().validate() else { return Ok(()) };

        let parsed = read(&valid.diff_to_yaml());

        prop_assert_eq!(parsed.map(|parsed| parsed.config), Ok(config));
    }
}
