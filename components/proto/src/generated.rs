//! Generated from `proto/`; see `tests/it`.

pub mod tempopb {
    include!("generated/tempopb.rs");
}

pub mod push {
    include!("generated/tempo.push.rs");
}

/// For tests and tools: the receiver walks the bytes.
pub mod jaeger {
    include!("generated/jaeger.api_v2.rs");
}

pub mod frontend {
    include!("generated/tempo.frontend.rs");
}
