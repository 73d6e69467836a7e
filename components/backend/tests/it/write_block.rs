//! Writing a block: visible only when everything is in place, whatever the store does at whichever call.

use std::{fs, path::Path, sync::Arc};

use prometheus::Registry;
use tempfile::TempDir;
use tempo_backend::{
    Backend, BlockFiles, BlockFormat, BlockMeta, Fault, FaultyStore, LocalStore, MemoryStore, Metrics,
    Operation, Store, StoreError, When, WriteBlockError, keys,
};
use tempo_model::{BlockId, TenantId};

/// A block's local files and meta.
struct Prepared {
    dir: TempDir,
    files: BlockFiles,
    meta: BlockMeta,
}

fn prepare() -> Prepared {
    let dir = tempfile::tempdir().unwrap();
    let mut data = vec![7_u8; 1000];
    data.extend_from_slice(&500_u32.to_le_bytes());
    data.extend_from_slice(b"PAR1");
    let objects = ["index", "bloom-1", "traces.idx", "data.parquet", "bloom-0"].map(str::to_owned).to_vec();
    for name in &objects {
        fs::write(dir.path().join(name), format!("content of {name}")).unwrap();
    }
    fs::write(dir.path().join("data.parquet"), &data).unwrap();
    let meta = BlockMeta {
        format: BlockFormat::VParquet4,
        block_id: BlockId::random(),
        tenant: TenantId::parse("tenant").unwrap(),
        start_time: "2026-11-22T13:42:41Z".parse().unwrap(),
        end_time: "2026-11-22T13:43:02Z".parse().unwrap(),
        total_objects: 3,
        size: data.len() as u64,
        compaction_level: 0,
        index_page_size: 0,
        total_records: 1,
        bloom_shards: 2,
        footer_size: 500,
        dedicated_columns: [].into(),
        replication_factor: 1,
    };
    let files = BlockFiles { dir: dir.path().to_owned(), objects };
    Prepared { dir, files, meta }
}

fn metrics() -> Metrics {
    Metrics::register(&Registry::new()).unwrap()
}

/// If the block is visible, everything it consists of is in the store as it was on disk.
async fn assert_whole_if_visible(store: &dyn Store, prepared: &Prepared, case: &str) -> bool {
    let key = |name: &str| keys::block_object(&prepared.meta.tenant, prepared.meta.block_id, name);
    let meta = match store.get(&key(keys::META)).await {
        Ok(meta) => meta,
        Err(error) => {
            assert!(error.is_not_found());
            return false;
        }
    };
    assert_eq!(BlockMeta::from_json(&meta).unwrap(), prepared.meta, "{case}");
    for name in &prepared.files.objects {
        let stored = store.get(&key(name)).await.unwrap();
        assert_eq!(stored, fs::read(prepared.dir.path().join(name)).unwrap(), "{case}: {name}");
    }
    true
}

#[tokio::test]
async fn a_block_is_read_back_by_name_and_range() {
    let prepared = prepare();
    let backend = Backend::new(Arc::new(MemoryStore::new()), metrics());
    let Prepared { meta, files, .. } = &prepared;

    backend.write_block(meta, files).await.unwrap();

    assert_eq!(backend.read_object(meta, keys::SIDECAR).await.unwrap(), "content of traces.idx");
    assert_eq!(backend.read_range(meta, "bloom-1", 11..18).await.unwrap(), "bloom-1");
    assert!(backend.read_object(meta, "nothing").await.unwrap_err().is_not_found());
    assert_eq!(backend.read_meta(&meta.tenant, meta.block_id).await.unwrap().as_ref(), Some(meta));
    assert!(backend.has_block(&meta.tenant, meta.block_id).await.unwrap());
    assert!(!backend.has_block(&meta.tenant, BlockId::random()).await.unwrap());
}

#[tokio::test]
async fn objects_are_put_in_the_order_of_the_durability_argument() {
    let prepared = prepare();
    let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
    let backend = Backend::new(Arc::clone(&faulty) as Arc<dyn Store>, metrics());
    let mut seen: Vec<String> = Vec::new();

    // Let one more put happen each time, and see which object is new.
    for puts in 1..=prepared.files.objects.len() as u64 {
        faulty.heal();
        // A store that failed the last time is asked something small first.
        backend.has_block(&prepared.meta.tenant, prepared.meta.block_id).await.unwrap();
        faulty.reset_calls();
        faulty.inject(When::From(puts), Fault::Unavailable);
        backend.write_block(&prepared.meta, &prepared.files).await.unwrap_err();
        faulty.heal();
        for entry in faulty.list("").await.unwrap() {
            let name = entry.key.rsplit('/').next().unwrap().to_owned();
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
    }

    assert_eq!(seen, ["data.parquet", "bloom-1", "traces.idx", "bloom-0", "index"]);
}

#[tokio::test]
async fn a_block_is_visible_only_when_it_is_whole_whatever_call_fails() {
    let calls = {
        let prepared = prepare();
        let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
        let backend = Backend::new(Arc::clone(&faulty) as Arc<dyn Store>, metrics());
        backend.write_block(&prepared.meta, &prepared.files).await.unwrap();
        faulty.total_calls()
    };
    // Five objects, one listing, one tail, the meta and its reading back.
    assert_eq!(calls, 9);

    let faults = [
        Fault::Unavailable,
        Fault::Denied,
        Fault::AnswerLost,
        Fault::Pretended,
        Fault::BodyCut(0),
        Fault::BodyCut(5),
    ];
    for call in 0..calls {
        for fault in faults {
            for when in [When::Call(call), When::From(call)] {
                for on_disk in [false, true] {
                    let case = format!("{fault:?} at {when:?}, on disk: {on_disk}");
                    let prepared = prepare();
                    let root = tempfile::tempdir().unwrap();
                    let inner: Arc<dyn Store> = if on_disk {
                        Arc::new(LocalStore::open(root.path()).await.unwrap())
                    } else {
                        Arc::new(MemoryStore::new())
                    };
                    let faulty = Arc::new(FaultyStore::new(Arc::clone(&inner), 1));
                    faulty.inject(when.clone(), fault);
                    let backend = Backend::new(Arc::clone(&faulty) as Arc<dyn Store>, metrics());

                    let result = backend.write_block(&prepared.meta, &prepared.files).await;

                    let is_visible = assert_whole_if_visible(inner.as_ref(), &prepared, &case).await;
                    assert!(is_visible || result.is_err(), "{case}: said to be written, but is not there");
                    faulty.heal();
                    backend.write_block(&prepared.meta, &prepared.files).await.unwrap();
                    assert!(assert_whole_if_visible(inner.as_ref(), &prepared, &case).await, "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_pretends_is_found_out() {
    let prepared = prepare();
    let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
    faulty
        .inject(When::Key { operation: Operation::PutFile, suffix: "bloom-0".to_owned() }, Fault::Pretended);
    let backend = Backend::new(Arc::clone(&faulty) as Arc<dyn Store>, metrics());

    let error = backend.write_block(&prepared.meta, &prepared.files).await.unwrap_err();

    assert!(
        matches!(&error, WriteBlockError::NotAsWritten { key, .. } if key.ends_with("/bloom-0")),
        "{error:?}"
    );
}

#[tokio::test]
async fn local_files_that_contradict_the_meta_are_not_uploaded() {
    for damage in ["truncated", "other end", "other footer", "missing", "not listed", "meta listed"] {
        let mut prepared = prepare();
        let data = prepared.dir.path().join("data.parquet");
        match damage {
            "truncated" => fs::write(&data, b"short and PAR1").unwrap(),
            "other end" => {
                let size = usize::try_from(prepared.meta.size).unwrap();
                fs::write(&data, vec![0; size]).unwrap();
            }
            "other footer" => prepared.meta.footer_size = 499,
            "missing" => fs::remove_file(prepared.dir.path().join("bloom-1")).unwrap(),
            "not listed" => prepared.files.objects.retain(|name| name != "data.parquet"),
            _ => prepared.files.objects.push("meta.json".to_owned()),
        }
        let store = Arc::new(MemoryStore::new());
        let backend = Backend::new(Arc::clone(&store) as Arc<dyn Store>, metrics());

        let error = backend.write_block(&prepared.meta, &prepared.files).await.unwrap_err();

        assert!(matches!(error, WriteBlockError::LocalFile { .. }), "{damage}: {error:?}");
        assert_eq!(store.list("").await.unwrap(), [], "{damage}");
    }
}

#[tokio::test]
async fn a_compacted_block_still_counts_as_written() {
    let prepared = prepare();
    let store = Arc::new(MemoryStore::new());
    let backend = Backend::new(Arc::clone(&store) as Arc<dyn Store>, metrics());
    let Prepared { meta, .. } = &prepared;
    let key = keys::block_object(&meta.tenant, meta.block_id, keys::META_COMPACTED);

    store.put(&key, meta.to_json().into()).await.unwrap();

    assert!(backend.has_block(&meta.tenant, meta.block_id).await.unwrap());
    assert_eq!(backend.read_meta(&meta.tenant, meta.block_id).await.unwrap(), None);
}

#[tokio::test]
async fn deletion_hides_the_block_first_and_can_be_repeated_after_every_failure() {
    let prepared = prepare();
    let Prepared { meta, files, .. } = &prepared;
    for call in 0.. {
        let inner = Arc::new(MemoryStore::new());
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&inner) as Arc<dyn Store>, 1));
        let backend = Backend::new(Arc::clone(&faulty) as Arc<dyn Store>, metrics());
        backend.write_block(meta, files).await.unwrap();
        faulty.reset_calls();
        faulty.inject(When::From(call), Fault::Unavailable);

        let result = backend.delete_block(&meta.tenant, meta.block_id).await;

        assert_whole_if_visible(inner.as_ref(), &prepared, "deletion").await;
        faulty.heal();
        backend.delete_block(&meta.tenant, meta.block_id).await.unwrap();
        assert_eq!(inner.list("").await.unwrap(), []);
        if result.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn a_range_that_comes_back_short_is_an_error() {
    let prepared = prepare();
    let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
    let backend = Backend::new(Arc::clone(&faulty) as Arc<dyn Store>, metrics());
    backend.write_block(&prepared.meta, &prepared.files).await.unwrap();
    faulty.inject(When::From(0), Fault::BodyCut(10));

    let error = backend.read_range(&prepared.meta, keys::DATA, 0..100).await.unwrap_err();

    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn requests_are_measured_by_operation_and_status() {
    let registry = Registry::new();
    let backend = Backend::new(Arc::new(MemoryStore::new()), Metrics::register(&registry).unwrap());
    let prepared = prepare();

    backend.write_block(&prepared.meta, &prepared.files).await.unwrap();
    backend.read_object(&prepared.meta, "nothing").await.unwrap_err();

    let count = |operation: &str, status_code: &str| {
        let families = registry.gather();
        let family =
            families.iter().find(|f| f.name() == "tempodb_backend_request_duration_seconds").unwrap();
        let metric = family.get_metric().iter().find(|metric| {
            let has = |name: &str, value: &str| {
                metric.get_label().iter().any(|label| label.name() == name && label.value() == value)
            };
            has("operation", operation) && has("status_code", status_code)
        });
        metric.map_or(0, |metric| metric.get_histogram().get_sample_count())
    };
    assert_eq!(count("PUT", "200"), 6);
    assert_eq!(count("LIST", "200"), 1);
    assert_eq!(count("GET", "200"), 2);
    assert_eq!(count("GET", "404"), 1);
}

/// Path tricks cannot even be spelt: keys are built from ids that refuse them.
#[test]
fn object_keys_stay_in_their_tenant() {
    let key = keys::block_object(&TenantId::parse("a").unwrap(), BlockId::MIN, &keys::bloom(3));

    assert_eq!(key, "a/00000000-0000-0000-0000-000000000000/bloom-3");
    assert!(Path::new(&key).is_relative());
}
