//! Files that Tempo wrote: read, and written again as it would.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::GzDecoder;
use serde_json::Value;
use tempo_backend::{BlockFormat, BlockMeta, CompactedBlockMeta, TenantIndex};
use tempo_config::{DedicatedColumn, DedicatedColumnOption, DedicatedColumnScope, DedicatedColumnType};

const TENANTS: [&str; 6] = ["a3", "a4", "a5", "c5", "ded", "nd5"];

/// The folder that has the layout of a local backend, without the data.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures")
}

/// The text of every `meta.json`, by tenant.
fn metas() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for tenant in TENANTS {
        for entry in fs::read_dir(root().join(tenant)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.push((tenant, fs::read_to_string(path.join("meta.json")).unwrap()));
            }
        }
    }
    found
}

fn gunzip(data: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(data).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn metas_of_tempo_are_written_again_byte_by_byte() {
    let metas = metas();

    assert_eq!(metas.len(), 8);
    for (tenant, text) in metas {
        let meta = BlockMeta::from_json(text.as_bytes()).unwrap();

        assert_eq!(meta.tenant.as_str(), tenant);
        assert_eq!(String::from_utf8(meta.to_json()).unwrap(), text.trim_end());
    }
}

#[test]
fn dedicated_columns_have_defaults_and_options() {
    let (_, text) = metas().into_iter().find(|(tenant, _)| *tenant == "ded").unwrap();

    let meta = BlockMeta::from_json(text.as_bytes()).unwrap();

    let column = |scope, name: &str, kind, options: &[DedicatedColumnOption]| DedicatedColumn {
        scope,
        name: name.to_owned(),
        kind,
        options: options.to_vec(),
    };
    use DedicatedColumnOption::{Array, Blob};
    use DedicatedColumnScope::{Event, Resource, Span};
    use DedicatedColumnType::{Int, String};
    assert_eq!(
        *meta.dedicated_columns,
        [
            column(Resource, "res.s", String, &[]),
            column(Resource, "res.i", Int, &[]),
            column(Span, "s", String, &[]),
            column(Span, "as", String, &[Array]),
            column(Span, "uid", String, &[Blob]),
            column(Span, "i", Int, &[]),
            column(Span, "ai", Int, &[Array]),
            column(Event, "exception.message", String, &[]),
            column(Event, "exception.stacktrace", String, &[Blob]),
            column(Event, "n", Int, &[]),
        ]
    );
}

#[test]
fn blocks_that_end_before_they_start_are_taken_as_they_are() {
    let (_, text) = metas().into_iter().find(|(tenant, _)| *tenant == "c5").unwrap();

    let meta = BlockMeta::from_json(text.as_bytes()).unwrap();

    assert!(meta.start_time > meta.end_time);
}

#[test]
fn metas_of_other_versions_are_read() {
    let meta = BlockMeta::from_json(
        br#"{"format":"vParquet9-preview","blockID":"B996743A-4B85-47F3-988C-4299346FDF86","tenantID":"t",
            "minID":"AAA=","maxID":"BBB=","startTime":"2026-11-22T14:42:41.5+01:00","encoding":"none",
            "dataEncoding":"","totalObjects":7,"dedicatedColumns":null,"someday":{"a":[1]}}"#,
    )
    .unwrap();

    assert_eq!(meta.format, BlockFormat::Unknown("vParquet9-preview".to_owned()));
    assert_eq!(meta.block_id.to_string(), "b996743a-4b85-47f3-988c-4299346fdf86");
    assert_eq!(meta.start_time.to_string(), "2026-11-22T13:42:41.5Z");
    assert_eq!(meta.end_time.to_string(), "0001-01-01T00:00:00Z", "as Go reads a missing time");
    assert_eq!(meta.replication_factor, 0);
    let value: Value = serde_json::from_slice(&meta.to_json()).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert!(
        !keys.iter().any(|key| ["size", "dedicatedColumns", "replicationFactor"].contains(&key.as_str()))
    );
}

#[test]
fn metas_that_make_no_sense_are_refused() {
    let good = r#"{"format":"vParquet4","blockID":"b996743a-4b85-47f3-988c-4299346fdf86","tenantID":"t"}"#;
    assert!(BlockMeta::from_json(good.as_bytes()).is_ok());

    for (from, to) in [
        ("b996743a-4b85", "../../../etc/"),
        (r#""t""#, r#""../t""#),
        (r#""t""#, r#""""#),
        (r#""t"}"#, r#""t","totalObjects":-1}"#),
        (r#""t"}"#, r#""t","bloomShards":4294967296}"#),
        (r#""t"}"#, r#""t","startTime":"yesterday"}"#),
        (r#""t"}"#, r#""t","dedicatedColumns":[{"n":"x","t":"float"}]}"#),
        (r#""t"}"#, r#""t","dedicatedColumns":[{"s":"span"}]}"#),
        (r#""t"}"#, r#""t""#),
        (r#""format":"vParquet4","#, ""),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good);
        assert!(BlockMeta::from_json(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn both_indexes_of_tempo_hold_the_metas_beside_them() {
    for tenant in TENANTS {
        let folder = root().join(tenant);
        let pb = TenantIndex::from_pb_zst(&fs::read(folder.join("index.pb.zst")).unwrap()).unwrap();
        let json = TenantIndex::from_json_gz(&fs::read(folder.join("index.json.gz")).unwrap()).unwrap();

        assert_eq!(pb, json, "{tenant}");
        assert_eq!(pb.refused, Vec::<String>::new());
        let mut listed: Vec<BlockMeta> = pb.index.blocks.iter().map(|meta| BlockMeta::clone(meta)).collect();
        let mut beside: Vec<BlockMeta> = metas()
            .iter()
            .filter(|(of, _)| *of == tenant)
            .map(|(_, text)| BlockMeta::from_json(text.as_bytes()).unwrap())
            .collect();
        listed.sort_by_key(|meta| meta.block_id);
        beside.sort_by_key(|meta| meta.block_id);
        assert_eq!(listed, beside, "{tenant}");
    }
}

#[test]
fn indexes_are_written_as_tempo_writes_them() {
    for tenant in TENANTS {
        let folder = root().join(tenant);
        let pb = fs::read(folder.join("index.pb.zst")).unwrap();
        let json = fs::read(folder.join("index.json.gz")).unwrap();
        let index = TenantIndex::from_pb_zst(&pb).unwrap().index;

        let our_pb = index.to_pb_zst().unwrap();
        let our_json = index.to_json_gz().unwrap();

        let raw = |data: &[u8]| zstd::decode_all(data).unwrap();
        assert_eq!(raw(&our_pb), raw(&pb), "{tenant}");
        assert_eq!(gunzip(&our_json), gunzip(&json).trim_end(), "{tenant}");
        assert_eq!(&our_json[10..21], b"index.json\0", "the gzip member has a name");
    }
}

#[test]
fn compacted_blocks_survive_both_encodings() {
    let meta = Arc::new(BlockMeta::from_json(metas()[0].1.as_bytes()).unwrap());
    let compacted_time = "2026-11-22T13:47:49.000000001Z".parse().unwrap();
    let index = TenantIndex {
        created_at: "2026-11-22T13:50:00Z".parse().unwrap(),
        blocks: vec![],
        compacted: vec![CompactedBlockMeta { meta, compacted_time }],
    };

    let pb = TenantIndex::from_pb_zst(&index.to_pb_zst().unwrap()).unwrap();
    let json_gz = index.to_json_gz().unwrap();
    let json = TenantIndex::from_json_gz(&json_gz).unwrap();

    assert_eq!(pb.index, index);
    assert_eq!(json.index, index);
    assert!(
        gunzip(&json_gz)
            .contains(r#""replicationFactor":1,"compactedTime":"2026-11-22T13:47:49.000000001Z"}]}"#)
    );
}

#[test]
fn a_bad_entry_of_an_index_costs_only_itself() {
    let good = metas()[0].1.clone();
    let bad =
        good.replace("vParquet3", "vParquet4").replace("\"totalObjects\":306", "\"totalObjects\":\"many\"");
    let text = format!(r#"{{"created_at":"2026-11-22T13:50:00Z","meta":[{bad},{good}],"compacted":null}}"#);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();

    let read = TenantIndex::from_json_gz(&gzip.finish().unwrap()).unwrap();

    assert_eq!(read.index.blocks.len(), 1);
    assert_eq!(read.refused.len(), 1);
}

#[test]
fn damaged_indexes_are_errors_and_never_panics() {
    let pb = fs::read(root().join("ded/index.pb.zst")).unwrap();
    let json = fs::read(root().join("ded/index.json.gz")).unwrap();
    let raw = zstd::decode_all(pb.as_slice()).unwrap();

    for cut in 0..pb.len() {
        assert!(TenantIndex::from_pb_zst(&pb[..cut]).is_err(), "{cut}");
    }
    for cut in 0..json.len() {
        assert!(TenantIndex::from_json_gz(&json[..cut]).is_err(), "{cut}");
    }
    for at in 0..raw.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = raw.clone();
            damaged[at] ^= flip;
            let damaged = zstd::encode_all(damaged.as_slice(), 1).unwrap();
            // Some flips only change a number or a name.
            drop(TenantIndex::from_pb_zst(&damaged));
        }
    }
}
