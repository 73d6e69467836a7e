//! What every decoder's output must be: a request that decodes, that the walk accepts whole, and that is not larger
//! than what it came from justifies.

use prost::Message as _;
use tempo_distributor::validate::{RequestWalk, WalkOptions};
use tempo_proto::collector::ExportTraceServiceRequest;

/// Panics if `otlp`, which came from `body_len` bytes, is not such a request.
pub fn check(otlp: &[u8], body_len: usize) {
    // A span of some 20 bytes becomes ids, times, status, a resource and an attribute or two.
    assert!(otlp.len() <= 1024 + body_len * 12, "{} bytes of OTLP from {body_len}", otlp.len());
    let request = ExportTraceServiceRequest::decode(otlp).expect("decodes");
    let spans: usize =
        request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum();
    let mut walk = RequestWalk::default();
    walk.walk(otlp, WalkOptions { max_attribute_bytes: 0 }).expect("can be walked");
    assert_eq!((walk.first_fault(), walk.span_count()), (None, spans));
}

/// As [`check`], for Jaeger: ids are passed on as they are, so that the walk may reject spans.
pub fn check_jaeger(otlp: &[u8], input_len: usize, spans: u64) {
    // Four times as much and 64 KiB are refused; the last span is written before that is seen.
    assert!(otlp.len() <= 8 * input_len + (128 << 10), "{} bytes of OTLP from {input_len}", otlp.len());
    let request = ExportTraceServiceRequest::decode(otlp).expect("decodes");
    let found: usize =
        request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum();
    assert_eq!(found as u64, spans);
    let mut walk = RequestWalk::default();
    walk.walk(otlp, WalkOptions { max_attribute_bytes: 0 }).expect("can be walked");
    assert!(walk.span_count() <= found);
}
