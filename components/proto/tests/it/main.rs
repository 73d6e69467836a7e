//! The checked-in protobuf code is what the `.proto` files say, without protoc.
//!
//! `TEMPO_REGENERATE=1 cargo test -p tempo-proto` writes the files instead of comparing them.

use std::{fs, path::Path};

fn generate(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = ["tempopb/tempo.proto", "tempo/push.proto", "tempo/frontend.proto", "jaeger/api_v2.proto"];
    let descriptors = protox::compile(files, [&root]).expect("compile the .proto files");
    prost_build::Config::new()
        .out_dir(out)
        .bytes(["."])
        .extern_path(".opentelemetry.proto", "::opentelemetry_proto::tonic")
        .compile_fds(descriptors)
        .expect("generate Rust from the descriptors");
}

#[test]
fn generated_code_is_current() {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    if option_env!("TEMPO_REGENERATE").is_some() {
        generate(&checked_in);
        return;
    }
    let fresh = tempfile::tempdir().expect("a temporary directory");
    generate(fresh.path());

    for name in ["tempopb.rs", "tempo.push.rs", "tempo.frontend.rs", "jaeger.api_v2.rs"] {
        let want = fs::read_to_string(fresh.path().join(name)).expect("read what was generated");
        let have = fs::read_to_string(checked_in.join(name)).unwrap_or_default();
        assert!(have == want, "{name} is stale: run TEMPO_REGENERATE=1 cargo test -p tempo-proto");
    }
}
