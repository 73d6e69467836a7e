//! Any bytes as Zipkin: refused, or a request that the distributor takes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tempo_distributor::{ZipkinFormat, zipkin_to_otlp};
use tempo_distributor_fuzz::check;

fuzz_target!(|body: &[u8]| {
    for parse_string_tags in [false, true] {
        if let Ok(otlp) = zipkin_to_otlp(ZipkinFormat::V2Protobuf, parse_string_tags, body) {
            check(&otlp, body.len());
        }
    }
});
