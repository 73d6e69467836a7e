//! A Jaeger datagram in Thrift's compact encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tempo_distributor::{JaegerFormat, JaegerToOtlp};
use tempo_distributor_fuzz::check_jaeger;

fuzz_target!(|input: &[u8]| {
    let mut out = Vec::new();
    match JaegerToOtlp::default().append(JaegerFormat::CompactMessage, input, &mut out) {
        Ok(spans) => check_jaeger(&out, input.len(), spans),
        Err(fault) => assert!(out.is_empty() && !fault.to_string().is_empty()),
    }
});
