use std::path::PathBuf;

use tempo_backend::BlockMeta;

use super::*;
use crate::decode::footer::Footer;

/// Meta and footer of the fixture block of a tenant.
fn fixture(tenant: &str) -> (BlockMeta, Footer) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(tenant);
    let block = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let meta = BlockMeta::from_json(&std::fs::read(block.join("meta.json")).unwrap()).unwrap();
    let data = std::fs::read(block.join("data.parquet")).unwrap();
    let start = data.len() - 8 - meta.footer_size as usize;
    let footer = Footer::parse(&data[start..data.len() - 8], start as u64).unwrap();
    (meta, footer)
}

#[test]
fn the_leaves_of_vparquet4_are_those_that_tempo_writes() {
    let (_, footer) = fixture("a4");

    let leaves = leaves::vparquet4();

    assert_eq!(leaves, footer.leaves);
}

#[test]
fn all_leaves_are_read_but_those_derived_from_others() {
    let derived = ["TraceIDText", "RootServiceName", "RootSpanName"];
    let is_derived = |path: &str| {
        let leaf = path.rsplit('.').next().unwrap();
        derived.contains(&leaf)
            || path.starts_with("ServiceStats")
            || !path.contains('.') && path != "TraceID"
            || ["ParentID", "NestedSetLeft", "NestedSetRight", "ChildCount", "SpanCount"].contains(&leaf)
            || leaf.starts_with("StartTimeRounded")
            || path.contains("DedicatedAttributes")
    };

    for tenant in ["a3", "a4", "a5", "nd5"] {
        let (meta, footer) = fixture(tenant);
        let plan = Plan::new(&meta.format, &meta.dedicated_columns, &footer.leaves).unwrap();

        let is_planned = |index: usize| plan.leaves.iter().any(|p| p.file_index == index);
        for (index, leaf) in footer.leaves.iter().enumerate() {
            assert!(is_planned(index) || is_derived(&leaf.path), "{} of {tenant} is not read", leaf.path);
        }
    }
}

#[test]
fn a_file_with_other_columns_than_its_meta_says_is_refused() {
    let (mut meta, footer) = fixture("a5");
    meta.dedicated_columns = [].into();

    let unnamed = Plan::new(&meta.format, &meta.dedicated_columns, &footer.leaves).unwrap_err();
    let missing = Plan::new(&BlockFormat::VParquet4, &[], &footer.leaves).unwrap_err();

    assert!(matches!(unnamed, LayoutError::UnnamedDedicatedColumn(_)), "{unnamed}");
    assert!(matches!(missing, LayoutError::MissingColumn(_)), "{missing}");
}
