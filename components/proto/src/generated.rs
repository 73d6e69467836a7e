//! Generated from `proto/`; see `tests/it`.

#[expect(missing_debug_implementations, unreachable_pub, clippy::all, reason = "generated code")]
pub mod tempopb {
    include!("generated/tempopb.rs");
}

#[expect(missing_debug_implementations, unreachable_pub, clippy::all, reason = "generated code")]
pub mod push {
    include!("generated/tempo.push.rs");
}

#[expect(missing_debug_implementations, unreachable_pub, clippy::all, reason = "generated code")]
pub mod frontend {
    include!("generated/tempo.frontend.rs");
}
