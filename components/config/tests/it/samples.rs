//! Files as people have them for Tempo 2.8 to 2.10 are read, with a warning for each thing that is not there yet.

use std::{collections::BTreeMap, time::Duration};

use tempo_config::{BackendKind, ByteSize, Config, ParseOptions, ReceiverTlsVersion, Target};

use crate::{print, read};

fn not_implemented(places: &[(&str, usize)]) -> Vec<String> {
    let text = "Tempo has this key, this build does not implement it yet: it has no effect";
    places.iter().map(|(path, line)| format!("{path} (line {line}): {text}")).collect()
}

#[test]
fn a_single_binary_is_read() {
    let parsed = read(include_str!("samples/single_binary.yaml")).unwrap();

    let config = parsed.config.clone();
    assert_eq!(config.ingester.max_block_duration.get(), Duration::from_secs(300));
    let otlp = config.distributor.receivers.otlp.clone().unwrap();
    assert_eq!(otlp.protocols.grpc.unwrap().endpoint, "0.0.0.0:4317");
    assert_eq!(otlp.protocols.http.unwrap().endpoint, "localhost:4318");
    let jaeger = config.distributor.receivers.jaeger.clone().unwrap();
    assert_eq!(jaeger.protocols.thrift_http.unwrap().endpoint, "localhost:14268");
    assert!(jaeger.protocols.grpc.is_none() && jaeger.remote_sampling.is_none());
    assert_eq!(
        print(parsed.warnings),
        not_implemented(&[
            ("query_frontend.search", 8),
            ("compactor", 36),
            ("metrics_generator", 40),
            ("overrides.defaults.metrics_generator", 63),
        ])
    );
    config.validate().unwrap();
}

#[test]
fn a_distributor_on_s3_is_read_and_refused_by_what_is_not_there_yet() {
    let env = BTreeMap::from([("S3_SECRET_KEY".to_owned(), "hunter2".to_owned())]);

    let parsed = Config::from_yaml(
        include_str!("samples/microservices_s3.yaml"),
        &env,
        ParseOptions { expand_env: true },
    )
    .unwrap();

    let config = parsed.config;
    assert_eq!(config.target, Target::Distributor);
    assert_eq!(config.ingester.max_block_bytes, ByteSize::from_gib(1));
    assert!(config.ingester.flush_all_on_shutdown);
    assert_eq!(config.storage.trace.backend, BackendKind::S3);
    assert_eq!(config.storage.trace.s3.secret_key.expose(), "hunter2");
    assert_eq!(config.storage.trace.s3.hedge_requests_at.get(), Duration::from_millis(500));
    assert_eq!(config.storage.trace.block.parquet_dedicated_columns.len(), 2);
    assert_eq!(config.overrides.defaults.ingestion.rate_limit_bytes, ByteSize::from_bytes(30_000_000));
    assert_eq!(config.overrides.defaults.ingestion.burst_size_bytes, ByteSize::from_bytes(40_000_000));
    assert_eq!(config.overrides.defaults.global.max_bytes_per_trace, ByteSize::from_bytes(50_000_000));
    let grpc = config.distributor.receivers.otlp.clone().unwrap().protocols.grpc.unwrap();
    assert_eq!(grpc.tls.min_version, ReceiverTlsVersion::Tls13);
    assert_eq!(grpc.max_message(), ByteSize::from_mib(16));
    let mut expected = not_implemented(&[
        ("server.grpc_server_max_recv_msg_size", 7),
        ("server.grpc_server_max_send_msg_size", 8),
        ("distributor.receivers.otlp.protocols.grpc.keepalive", 22),
        ("distributor.receivers.otlp.protocols.http.cors", 28),
        ("distributor.ring", 32),
        ("ingester.lifecycler", 36),
        ("memberlist", 46),
        ("querier.frontend_worker", 53),
        ("query_frontend.search", 59),
        ("compactor", 62),
        ("storage.trace.pool", 79),
        ("cache", 89),
        ("overrides.metrics_generator_processors", 103),
    ]);
    expected.insert(
        10,
        "line 76: variable S3_ACCESS_KEY is not set and has no default: replaced by nothing".to_owned(),
    );
    assert_eq!(print(parsed.warnings), expected);
    let findings = parsed.lines.locate(config.validate().unwrap_err());
    assert_eq!(
        print(findings),
        [
            "target (line 2): this build cannot run `distributor` as a process of its own yet; use `all`",
            "storage.trace.s3.access_key (line 76): must be set, because secret_key is",
        ]
    );
}

#[test]
fn what_the_helm_chart_writes_is_read() {
    let parsed = read(include_str!("samples/helm_chart.yaml")).unwrap();

    assert_eq!(
        print(parsed.warnings),
        not_implemented(&[
            ("cache", 2),
            ("compactor", 13),
            ("distributor.ring", 42),
            ("distributor.usage", 45),
            ("ingester.lifecycler", 55),
            ("memberlist", 64),
            ("querier.frontend_worker", 92),
            ("querier.search", 95),
            ("query_frontend.metrics", 102),
            ("query_frontend.search", 110),
            ("server.grpc_server_max_recv_msg_size", 116),
            ("server.grpc_server_max_send_msg_size", 117),
            ("storage.trace.pool", 131),
            ("storage.trace.search", 134),
            ("usage_report", 138),
        ])
    );
    let receivers = parsed.config.distributor.receivers.clone();
    assert_eq!(receivers.jaeger.unwrap().protocols.grpc.unwrap().endpoint, "0.0.0.0:14250");
    assert_eq!(receivers.zipkin.unwrap().endpoint, "0.0.0.0:9411");
    parsed.config.validate().unwrap();
}

#[test]
fn jaeger_and_zipkin_take_the_collectors_keys() {
    let text = "
distributor:
  receivers:
    jaeger:
      protocols:
        thrift_compact: {endpoint: ':6831', queue_size: 10, max_packet_size: 1000, workers: 2, socket_buffer_size: 4096}
        thrift_binary:
        thrift_http: {max_request_body_size: 10}
        grpc: {max_recv_msg_size_mib: 8, tls: {cert_file: c, key_file: k}}
      remote_sampling:
        host_endpoint: localhost:1
    zipkin:
      parse_string_tags: true
      cors: {}
";

    let parsed = read(text).unwrap();

    let receivers = parsed.config.distributor.receivers.clone();
    let jaeger = receivers.jaeger.unwrap();
    let compact = jaeger.protocols.thrift_compact.unwrap();
    assert_eq!((compact.queue_size, compact.workers), (10, 2));
    assert_eq!(compact.datagrams().socket_buffer(), ByteSize::from_bytes(4096));
    let binary = jaeger.protocols.thrift_binary.unwrap();
    assert_eq!((binary.endpoint.as_str(), binary.max_packet_size.get()), ("localhost:6832", 65_000));
    assert_eq!(jaeger.protocols.thrift_http.unwrap().max_body(), ByteSize::from_bytes(10));
    assert_eq!(jaeger.protocols.grpc.unwrap().max_message(), ByteSize::from_mib(8));
    assert_eq!(jaeger.remote_sampling.unwrap().host_endpoint, "localhost:1");
    assert!(receivers.otlp.is_none() && receivers.zipkin.unwrap().parse_string_tags);
    assert_eq!(print(parsed.warnings), Vec::<String>::new());
    parsed.config.validate().unwrap();
}

#[test]
fn what_is_empty_is_as_if_it_were_not_there() {
    for text in [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "ingester:\n",
        "ingester: ~\nstorage:\n  trace:\n    block:\n",
        "{}",
    ] {
        let parsed = read(text).unwrap();

        assert_eq!((parsed.config, parsed.warnings), (Config::default(), vec![]), "{text:?}");
    }
}

#[test]
fn receivers_are_on_by_their_key_alone() {
    let none = read("distributor: {receivers: {otlp: {protocols: {http: }}}}").unwrap().config;
    let kafka = read("distributor:\n  receivers:\n    kafka:\n").unwrap();

    let protocols = none.distributor.receivers.otlp.unwrap().protocols;
    assert_eq!((protocols.grpc.is_some(), protocols.http.is_some()), (false, true));
    assert_eq!(kafka.config.distributor.receivers.otlp, None);
    assert_eq!(print(kafka.warnings), not_implemented(&[("distributor.receivers.kafka", 3)]));
}

#[test]
fn scalars_are_read_as_go_reads_them() {
    let text = "
multitenancy_enabled: yes
stream_over_http_enabled: On
shutdown_delay: 1d
server: {http_listen_port: 0x0c80, grpc_listen_port: 010000, grpc_server_max_concurrent_streams: 1_000}
ingester: {max_block_bytes: 5e+08, trace_idle_period: 1h30m, concurrent_flushes: 4.0, complete_block_timeout: 0}
storage: {trace: {block: {bloom_filter_false_positive: '0.05'}, local: {path: 12}}}
";

    let config = read(text).unwrap().config;

    assert!(config.multitenancy_enabled && config.stream_over_http_enabled);
    assert_eq!(config.shutdown_delay.get(), Duration::from_secs(86_400));
    assert_eq!((config.server.http_listen_port, config.server.grpc_listen_port), (3_200, 4_096));
    assert_eq!(config.server.grpc_server_max_concurrent_streams, 1_000);
    assert_eq!(config.ingester.max_block_bytes.get(), 500_000_000);
    assert_eq!(config.ingester.trace_idle_period.get(), Duration::from_secs(5_400));
    assert!((config.storage.trace.block.bloom_filter_false_positive - 0.05).abs() < 1e-12);
    assert_eq!(config.storage.trace.local.path, "12");
}

#[test]
fn merge_keys_are_applied() {
    let text = "
server:
  http_tls_config: &tls
    cert_file: /a
    key_file: /b
  grpc_tls_config:
    <<: *tls
    key_file: /c
";

    let server = read(text).unwrap().config.server;

    assert_eq!(server.grpc_tls_config.cert_file, "/a");
    assert_eq!(server.grpc_tls_config.key_file, "/c");
}

#[test]
fn variables_are_only_replaced_when_asked_for() {
    let text = "storage: {trace: {local: {path: \"${DATA}/blocks\"}}}";
    let env = BTreeMap::from([("DATA".to_owned(), "/data".to_owned())]);
    let path = |expand_env| {
        Config::from_yaml(text, &env, ParseOptions { expand_env }).unwrap().config.storage.trace.local.path
    };

    assert_eq!(path(true), "/data/blocks");
    assert_eq!(path(false), "${DATA}/blocks");
}
