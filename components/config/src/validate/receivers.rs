//! The rules of `distributor.receivers`.

use super::{Listener, Rules, as_u64, tls_files};
use crate::{
    DatagramsConfig, JaegerReceiverConfig, OtlpReceiverConfig, ReceiverTlsConfig, ReceiversConfig,
    ZipkinReceiverConfig, parse_endpoint,
};

/// Largest payload of a datagram.
const MAX_DATAGRAM_BYTES: u64 = 65_507;

/// Checks the receivers and gives the addresses that they will listen on.
pub(super) fn check<'a>(receivers: &'a ReceiversConfig, rules: &mut Rules) -> Vec<Listener<'a>> {
    let ReceiversConfig { otlp, jaeger, zipkin } = receivers;
    let mut listeners = Vec::new();
    if let Some(otlp_config) = otlp {
        otlp_rules(otlp_config, &mut listeners, rules);
    }
    if let Some(jaeger_config) = jaeger {
        jaeger_rules(jaeger_config, &mut listeners, rules);
    }
    if let Some(zipkin_config) = zipkin {
        zipkin_rules(zipkin_config, &mut listeners, rules);
    }
    listeners
}

fn otlp_rules<'a>(otlp: &'a OtlpReceiverConfig, listeners: &mut Vec<Listener<'a>>, rules: &mut Rules) {
    let protocols = &otlp.protocols;
    if protocols.grpc.is_none() && protocols.http.is_none() {
        rules.refuse(
            "distributor.receivers.otlp.protocols",
            "names no protocol: add `grpc:`, `http:` or both",
        );
    }
    if let Some(grpc) = &protocols.grpc {
        const PATH: &str = "distributor.receivers.otlp.protocols.grpc";
        const KEY: &str = "distributor.receivers.otlp.protocols.grpc.endpoint";
        listeners.extend(endpoint(KEY, &grpc.endpoint, rules));
        receiver_tls(PATH, &grpc.tls, rules);
        message_size(PATH, grpc.max_recv_msg_size_mib, rules);
    }
    if let Some(http) = &protocols.http {
        const PATH: &str = "distributor.receivers.otlp.protocols.http";
        const KEY: &str = "distributor.receivers.otlp.protocols.http.endpoint";
        listeners.extend(endpoint(KEY, &http.endpoint, rules));
        receiver_tls(PATH, &http.tls, rules);
        body_size(PATH, http.max_request_body_size.get(), rules);
        let is_path = http.traces_url_path.starts_with('/');
        rules.require(is_path, &format!("{PATH}.traces_url_path"), "must begin with `/`");
    }
}

fn jaeger_rules<'a>(jaeger: &'a JaegerReceiverConfig, listeners: &mut Vec<Listener<'a>>, rules: &mut Rules) {
    let protocols = &jaeger.protocols;
    let is_on = protocols.grpc.is_some()
        || protocols.thrift_http.is_some()
        || protocols.thrift_compact.is_some()
        || protocols.thrift_binary.is_some();
    rules.require(
        is_on,
        "distributor.receivers.jaeger.protocols",
        "names no protocol: add `grpc:`, `thrift_http:`, `thrift_compact:` or `thrift_binary:`",
    );
    if let Some(grpc) = &protocols.grpc {
        const PATH: &str = "distributor.receivers.jaeger.protocols.grpc";
        const KEY: &str = "distributor.receivers.jaeger.protocols.grpc.endpoint";
        listeners.extend(endpoint(KEY, &grpc.endpoint, rules));
        receiver_tls(PATH, &grpc.tls, rules);
        message_size(PATH, grpc.max_recv_msg_size_mib, rules);
    }
    if let Some(http) = &protocols.thrift_http {
        const PATH: &str = "distributor.receivers.jaeger.protocols.thrift_http";
        const KEY: &str = "distributor.receivers.jaeger.protocols.thrift_http.endpoint";
        listeners.extend(endpoint(KEY, &http.endpoint, rules));
        receiver_tls(PATH, &http.tls, rules);
        body_size(PATH, http.max_request_body_size.get(), rules);
    }
    if let Some(udp) = &protocols.thrift_compact {
        const PATH: &str = "distributor.receivers.jaeger.protocols.thrift_compact";
        const KEY: &str = "distributor.receivers.jaeger.protocols.thrift_compact.endpoint";
        listeners.extend(udp_endpoint(KEY, &udp.endpoint, rules));
        udp_rules(PATH, &udp.datagrams(), rules);
    }
    if let Some(udp) = &protocols.thrift_binary {
        const PATH: &str = "distributor.receivers.jaeger.protocols.thrift_binary";
        const KEY: &str = "distributor.receivers.jaeger.protocols.thrift_binary.endpoint";
        listeners.extend(udp_endpoint(KEY, &udp.endpoint, rules));
        udp_rules(PATH, &udp.datagrams(), rules);
    }
    if let Some(sampling) = &jaeger.remote_sampling {
        const PATH: &str = "distributor.receivers.jaeger.remote_sampling";
        const KEY: &str = "distributor.receivers.jaeger.remote_sampling.host_endpoint";
        listeners.extend(endpoint(KEY, &sampling.host_endpoint, rules));
        let is_share = (0.0..=1.0).contains(&sampling.tempo_rs.sampling_rate);
        rules.require(is_share, &format!("{PATH}.tempo_rs.sampling_rate"), "must be from 0 to 1");
    }
}

fn zipkin_rules<'a>(zipkin: &'a ZipkinReceiverConfig, listeners: &mut Vec<Listener<'a>>, rules: &mut Rules) {
    const PATH: &str = "distributor.receivers.zipkin";
    listeners.extend(endpoint("distributor.receivers.zipkin.endpoint", &zipkin.endpoint, rules));
    receiver_tls(PATH, &zipkin.tls, rules);
    body_size(PATH, zipkin.max_request_body_size.get(), rules);
}

fn udp_rules(path: &str, udp: &DatagramsConfig<'_>, rules: &mut Rules) {
    let DatagramsConfig { endpoint: _, queue_size, max_packet_size, workers, socket_buffer_size } = udp;
    rules.range(&format!("{path}.queue_size"), as_u64(*queue_size), 1..=1_000_000);
    rules.range(&format!("{path}.max_packet_size"), max_packet_size.get(), 1..=MAX_DATAGRAM_BYTES);
    rules.range(&format!("{path}.workers"), as_u64(*workers), 1..=1_000);
    rules.range(&format!("{path}.socket_buffer_size"), socket_buffer_size.get(), 0..=1 << 30);
}

fn message_size(path: &str, mib: u32, rules: &mut Rules) {
    rules.range(&format!("{path}.max_recv_msg_size_mib"), u64::from(mib), 0..=2_047);
}

fn body_size(path: &str, bytes: u64, rules: &mut Rules) {
    rules.range(&format!("{path}.max_request_body_size"), bytes, 0..=u64::from(u32::MAX));
}

fn endpoint<'a>(key: &'a str, endpoint: &'a str, rules: &mut Rules) -> Option<Listener<'a>> {
    match parse_endpoint(endpoint) {
        Ok((host, port)) => Some(Listener { key, host, port, is_udp: false }),
        Err(error) => {
            rules.refuse(key, error.to_string());
            None
        }
    }
}

fn udp_endpoint<'a>(key: &'a str, text: &'a str, rules: &mut Rules) -> Option<Listener<'a>> {
    endpoint(key, text, rules).map(|listener| Listener { is_udp: true, ..listener })
}

fn receiver_tls(protocol: &str, tls: &ReceiverTlsConfig, rules: &mut Rules) {
    let ReceiverTlsConfig { cert_file, key_file, client_ca_file, min_version: _ } = tls;
    tls_files(&format!("{protocol}.tls"), [cert_file, key_file, client_ca_file], rules);
}
