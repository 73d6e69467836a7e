//! Every rule across keys has a case that breaks it.

use crate::{print, read};

/// The findings of one file, without lines.
fn refused(text: &str) -> Vec<String> {
    print(read(text).expect(text).config.validate().expect_err(text))
}

/// Files, and a finding that each must have.
const CASES: &[(&str, &str)] = &[
    ("target: querier", "target: this build cannot run `querier` as a process of its own yet; use `all`"),
    ("http_api_prefix: tempo", "http_api_prefix: must begin with `/` and not end with it"),
    ("http_api_prefix: /tempo/", "http_api_prefix: must begin with `/` and not end with it"),
    (
        "server: {tempo_rs: {shutdown_deadline: 0s}}",
        "server.tempo_rs.shutdown_deadline: must be longer than 0",
    ),
    (
        "server: {grpc_listen_port: 3200}",
        "server.grpc_listen_port: port 3200 is taken by `server.http_listen_port`",
    ),
    (
        "internal_server: {enable: true, http_listen_port: 9095, http_listen_address: '::'}",
        "internal_server.http_listen_port: port 9095 is taken by `server.grpc_listen_port`",
    ),
    (
        "server: {http_tls_config: {cert_file: a}}",
        "server.http_tls_config.key_file: must be set, because cert_file is",
    ),
    (
        "server: {grpc_tls_config: {key_file: a}}",
        "server.grpc_tls_config.cert_file: must be set, because key_file is",
    ),
    (
        "server: {http_tls_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}}",
        "server.http_tls_config.client_ca_file: must be set, because client_auth_type asks for certificates",
    ),
    (
        "server: {http_tls_config: {client_auth_type: VerifyClientCertIfGiven, client_ca_file: a, cert_file: '', key_file: ''}}",
        "server.http_tls_config.client_ca_file: has no effect without cert_file and key_file",
    ),
    (
        "distributor: {receivers: {otlp: }}",
        "distributor.receivers.otlp.protocols: names no protocol: add `grpc:`, `http:` or both",
    ),
    (
        "distributor: {receivers: {otlp: {protocols: {grpc: {endpoint: nowhere}}}}}",
        "distributor.receivers.otlp.protocols.grpc.endpoint: `nowhere` is no address: write host:port, such as localhost:4317 or 0.0.0.0:4317",
    ),
    (
        "distributor: {receivers: {otlp: {protocols: {grpc: {endpoint: 'a:70000'}}}}}",
        "distributor.receivers.otlp.protocols.grpc.endpoint: `a:70000` is no address: write host:port, such as localhost:4317 or 0.0.0.0:4317",
    ),
    (
        "distributor: {receivers: {otlp: {protocols: {grpc: , http: {endpoint: ':4317'}}}}}",
        "distributor.receivers.otlp.protocols.http.endpoint: port 4317 is taken by `distributor.receivers.otlp.protocols.grpc.endpoint`",
    ),
    (
        "distributor: {receivers: {jaeger: }}",
        "distributor.receivers.jaeger.protocols: names no protocol: add `grpc:`, `thrift_http:`, `thrift_compact:` or `thrift_binary:`",
    ),
    (
        "distributor: {receivers: {jaeger: {protocols: {grpc: {endpoint: ':4317'}}}, otlp: {protocols: {grpc: }}}}",
        "distributor.receivers.jaeger.protocols.grpc.endpoint: port 4317 is taken by `distributor.receivers.otlp.protocols.grpc.endpoint`",
    ),
    (
        "distributor: {receivers: {jaeger: {protocols: {thrift_compact: {endpoint: ':6832'}, thrift_binary: }}}}",
        "distributor.receivers.jaeger.protocols.thrift_binary.endpoint: port 6832 is taken by `distributor.receivers.jaeger.protocols.thrift_compact.endpoint`",
    ),
    (
        "distributor: {receivers: {jaeger: {protocols: {thrift_compact: {max_packet_size: 65508}}}}}",
        "distributor.receivers.jaeger.protocols.thrift_compact.max_packet_size: is 65508, must be from 1 to 65507",
    ),
    (
        "distributor: {receivers: {jaeger: {protocols: {thrift_binary: {workers: 0}}}}}",
        "distributor.receivers.jaeger.protocols.thrift_binary.workers: is 0, must be from 1 to 1000",
    ),
    (
        "distributor: {receivers: {jaeger: {protocols: {grpc: }, remote_sampling: {tempo_rs: {sampling_rate: 1.5}}}}}",
        "distributor.receivers.jaeger.remote_sampling.tempo_rs.sampling_rate: must be from 0 to 1",
    ),
    (
        "distributor: {receivers: {zipkin: {tls: {cert_file: c}}}}",
        "distributor.receivers.zipkin.tls.key_file: must be set, because cert_file is",
    ),
    (
        "distributor: {receivers: {otlp: {protocols: {http: {tls: {key_file: k}}}}}}",
        "distributor.receivers.otlp.protocols.http.tls.cert_file: must be set, because key_file is",
    ),
    (
        "distributor: {receivers: {otlp: {protocols: {http: {traces_url_path: v1}}}}}",
        "distributor.receivers.otlp.protocols.http.traces_url_path: must begin with `/`",
    ),
    ("ingester: {concurrent_flushes: 0}", "ingester.concurrent_flushes: is 0, must be from 1 to 1024"),
    ("ingester: {max_block_duration: 0}", "ingester.max_block_duration: must be longer than 0"),
    (
        "ingester: {tempo_rs: {wal_max_bytes: 64MiB}}",
        "ingester.tempo_rs.wal_max_bytes: must be at least twice wal_segment_bytes, because only whole segments are deleted",
    ),
    (
        "ingester: {tempo_rs: {flush_retry_backoff_min: 1m}}",
        "ingester.tempo_rs.flush_retry_backoff_max: must not be shorter than flush_retry_backoff_min",
    ),
    (
        "ingester: {tempo_rs: {max_sealed_heads: 0}}",
        "ingester.tempo_rs.max_sealed_heads: is 0, must be from 1 to 1024",
    ),
    (
        "querier: {max_concurrent_queries: 0}",
        "querier.max_concurrent_queries: is 0, must be from 1 to 100000",
    ),
    (
        "query_frontend: {trace_by_id: {query_shards: 0}}",
        "query_frontend.trace_by_id.query_shards: is 0, must be from 1 to 100000",
    ),
    (
        "storage: {trace: {backend: gcs}}",
        "storage.trace.backend: this build cannot keep blocks in `gcs` yet; use `s3` or `local`",
    ),
    (
        "storage: {trace: {local: {path: ''}}}",
        "storage.trace.local.path: must be set: the directory for blocks",
    ),
    (
        "storage: {trace: {wal: {path: ''}}}",
        "storage.trace.wal.path: must be set: the directory for the write-ahead log",
    ),
    (
        "storage: {trace: {local: {path: /var/tempo/}, wal: {path: /var//tempo/./wal}}}",
        "storage.trace.wal.path: must not be inside of storage.trace.local.path nor around it: folders there are tenants",
    ),
    ("storage: {trace: {blocklist_poll: 0s}}", "storage.trace.blocklist_poll: must be longer than 0"),
    (
        "storage: {trace: {block: {version: vParquet5}}}",
        "storage.trace.block.version: `vParquet5` can be read but not written; the only valid value is vParquet4",
    ),
    (
        "storage: {trace: {block: {version: v2}}}",
        "storage.trace.block.version: `v2` is no format that can be written; the only valid value is vParquet4",
    ),
    (
        "storage: {trace: {block: {bloom_filter_false_positive: 1}}}",
        "storage.trace.block.bloom_filter_false_positive: must be between 0 and 1, such as 0.01",
    ),
    (
        "storage: {trace: {block: {bloom_filter_shard_size_bytes: 0}}}",
        "storage.trace.block.bloom_filter_shard_size_bytes: is 0, must be from 64 to 67108864",
    ),
    (
        "storage: {trace: {block: {tempo_rs: {spans_per_row_group: 10}}}}",
        "storage.trace.block.tempo_rs.spans_per_page: is 4096, must be from 1 to 10",
    ),
    (
        "storage: {trace: {block: {tempo_rs: {zstd_level: -1}}}}",
        "storage.trace.block.tempo_rs.zstd_level: is 0, must be from 1 to 22",
    ),
    (
        "storage: {trace: {block: {parquet_dedicated_columns: [{scope: span, name: a, type: int}]}}}",
        "storage.trace.block.parquet_dedicated_columns[0]: vParquet4 has no columns for type int; type is string",
    ),
    (
        "storage: {trace: {block: {parquet_dedicated_columns: [{scope: span, name: a, type: string, options: [blob]}]}}}",
        "storage.trace.block.parquet_dedicated_columns[0]: vParquet4 has no options for columns",
    ),
    (
        "overrides: {defaults: {storage: {parquet_dedicated_columns: [{scope: span, name: a, type: string}, {scope: span, name: a, type: string}]}}}",
        "overrides.defaults.storage.parquet_dedicated_columns[1]: names an attribute that has a column already",
    ),
    (
        "overrides: {per_tenant_override_config: a, per_tenant_override_period: 0s}",
        "overrides.per_tenant_override_period: must be longer than 0",
    ),
];

#[test]
fn every_rule_refuses_what_breaks_it() {
    for (text, expected) in CASES {
        assert!(refused(text).iter().any(|finding| finding == expected), "{text}\n{:?}", refused(text));
    }
}

#[test]
fn more_columns_than_a_block_has_are_refused() {
    let columns: Vec<_> = (0..11).map(|i| format!("{{scope: resource, name: a{i}, type: string}}")).collect();
    let text =
        format!("storage: {{trace: {{block: {{parquet_dedicated_columns: [{}]}}}}}}", columns.join(", "));

    assert_eq!(
        refused(&text),
        ["storage.trace.block.parquet_dedicated_columns: has 11 columns of scope resource; vParquet4 has 10"]
    );
}

#[test]
fn all_findings_come_at_once() {
    let text = "target: querier\nstorage: {trace: {backend: s3, block: {version: v2}}}\ningester: {concurrent_flushes: 0}";

    assert_eq!(refused(text).len(), 4);
}

#[test]
fn ports_that_the_system_chooses_and_other_hosts_do_not_collide() {
    for text in [
        "server: {http_listen_port: 0, grpc_listen_port: 0}",
        "server: {http_listen_address: 127.0.0.1, grpc_listen_address: 127.0.0.2, grpc_listen_port: 3200}",
        "distributor: {receivers: {otlp: {protocols: {grpc: {endpoint: '[::1]:4317'}, http: {endpoint: 'localhost:4317'}}}}}",
        "distributor: {receivers: {jaeger: {protocols: {thrift_compact: {endpoint: ':3200'}}}}}",
    ] {
        read(text).unwrap().config.validate().unwrap();
    }
}
