//! Generated from `proto/`; see `tests/it`.

pub mod tempopb {
    include!("generated/tempopb.rs");
}

pub mod push {
    include!("generated/tempo.push.rs");
}

pub mod frontend {
    include!("generated/tempo.frontend.rs");
}
