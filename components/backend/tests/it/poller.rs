//! Polling against real files of Tempo, broken blocks, and stores that fail.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use prometheus::Registry;
use tempo_backend::{
    Backend, BlockFormat, BlockMeta, Blocklist, Fault, FaultyStore, LocalStore, MemoryStore, Metrics,
    Operation, PollReport, Poller, PollerOptions, Store, TenantIndex, When, keys,
};
use tempo_config::TraceStorageConfig;
use tempo_model::{BlockId, TenantId};
use tokio_util::sync::CancellationToken;

use crate::fixtures;

const INDEX_PB: &str = "index.pb.zst";
const INDEX_JSON: &str = "index.json.gz";

/// One process that polls a store that others may write to.
struct Process {
    store: Arc<FaultyStore>,
    blocklist: Blocklist,
    poller: Poller,
    registry: Registry,
    now: Timestamp,
}

impl Process {
    fn new(store: &Arc<dyn Store>, options: PollerOptions) -> Process {
        let store = Arc::new(FaultyStore::new(Arc::clone(store), 1));
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let backend = Backend::new(Arc::clone(&store) as Arc<dyn Store>, metrics.clone());
        let blocklist = Blocklist::new();
        let poller = Poller::new(backend, blocklist.clone(), options, metrics);
        Process { store, blocklist, poller, registry, now: Timestamp::now() }
    }

    fn builder(store: &Arc<dyn Store>) -> Process {
        Process::new(store, options(true))
    }

    fn reader(store: &Arc<dyn Store>) -> Process {
        Process::new(store, options(false))
    }

    /// One poll interval passes, then a poll.
    async fn poll(&mut self) -> PollReport {
        self.now += options(true).interval;
        self.store.reset_calls();
        self.poller.poll_once(self.now).await.unwrap()
    }

    /// Live blocks of a tenant by the number they were made with.
    fn live(&self, tenant: &str) -> Vec<u8> {
        self.blocklist.metas(&tenant_id(tenant)).iter().map(|meta| meta.block_id.as_bytes()[0]).collect()
    }

    fn recently_compacted(&self, tenant: &str) -> Vec<u8> {
        let Some(blocks) = self.blocklist.tenant(&tenant_id(tenant)) else { return Vec::new() };
        blocks.recently_compacted.iter().map(|meta| meta.block_id.as_bytes()[0]).collect()
    }

    fn quarantined(&self, tenant: &str) -> Vec<(u8, String)> {
        let Some(blocks) = self.blocklist.tenant(&tenant_id(tenant)) else { return Vec::new() };
        let describe =
            |block: &tempo_backend::QuarantinedBlock| (block.block_id.as_bytes()[0], block.reason.clone());
        blocks.quarantined.iter().map(describe).collect()
    }

    /// Value of a gauge or counter.
    fn metric(&self, name: &str, tenant: &str) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let metric = family.get_metric().iter().find(|metric| {
            metric.get_label().is_empty() || metric.get_label().iter().any(|label| label.value() == tenant)
        })?;
        Some(metric.get_gauge().get_value() + metric.get_counter().get_value())
    }
}

fn options(builds_index: bool) -> PollerOptions {
    PollerOptions::from_config(&TraceStorageConfig::default(), builds_index, 1)
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn tenant_id(tenant: &str) -> TenantId {
    TenantId::parse(tenant).unwrap()
}

fn block(tenant: &str, number: u8) -> BlockMeta {
    BlockMeta {
        format: BlockFormat::VParquet4,
        block_id: BlockId::from_bytes([number; 16]),
        tenant: tenant_id(tenant),
        start_time: Timestamp::UNIX_EPOCH,
        end_time: Timestamp::UNIX_EPOCH,
        total_objects: 1,
        size: 1,
        compaction_level: 0,
        index_page_size: 0,
        total_records: 1,
        bloom_shards: 1,
        footer_size: 0,
        dedicated_columns: [].into(),
        replication_factor: 1,
    }
}

fn key(tenant: &str, number: u8, name: &str) -> String {
    keys::block_object(&tenant_id(tenant), BlockId::from_bytes([number; 16]), name)
}

async fn put_block(store: &Arc<dyn Store>, tenant: &str, number: u8) {
    store.put(&key(tenant, number, keys::DATA), Bytes::from_static(b"data")).await.unwrap();
    store.put(&key(tenant, number, keys::META), block(tenant, number).to_json().into()).await.unwrap();
}

/// As a compactor does on an object store.
async fn mark_compacted(store: &Arc<dyn Store>, tenant: &str, number: u8) {
    let meta = store.get(&key(tenant, number, keys::META)).await.unwrap();
    store.put(&key(tenant, number, keys::META_COMPACTED), meta).await.unwrap();
    store.delete(&key(tenant, number, keys::META)).await.unwrap();
}

async fn delete_block(store: &Arc<dyn Store>, tenant: &str, number: u8) {
    for name in [keys::META, keys::META_COMPACTED, keys::DATA] {
        store.delete(&key(tenant, number, name)).await.unwrap();
    }
}

async fn read_index(store: &Arc<dyn Store>, tenant: &str) -> TenantIndex {
    let pb = TenantIndex::from_pb_zst(&store.get(&format!("{tenant}/{INDEX_PB}")).await.unwrap()).unwrap();
    let json =
        TenantIndex::from_json_gz(&store.get(&format!("{tenant}/{INDEX_JSON}")).await.unwrap()).unwrap();
    assert_eq!(pb, json);
    pb.index
}

#[tokio::test]
async fn a_bucket_of_tempo_is_listed_and_its_index_saves_every_get() {
    let dir = tempfile::tempdir().unwrap();
    copy_folder(&fixtures::root(), dir.path());
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).await.unwrap());
    let mut builder = Process::builder(&store);
    let mut reader = Process::reader(&store);

    let report = builder.poll().await;
    reader.poll().await;

    assert_eq!(report, PollReport { polled: 6, failed: vec![] });
    assert_eq!(builder.store.calls(Operation::Get), 6, "one index for each tenant");
    let counts: Vec<(String, usize)> = builder
        .blocklist
        .snapshot()
        .tenants()
        .map(|(tenant, blocks)| (tenant.to_string(), blocks.live.len()))
        .collect();
    let expected = [("a3", 1), ("a4", 1), ("a5", 1), ("c5", 2), ("ded", 2), ("nd5", 1)];
    assert_eq!(counts, expected.map(|(tenant, count)| (tenant.to_owned(), count)));
    for (tenant, blocks) in builder.blocklist.snapshot().tenants() {
        assert_eq!(reader.blocklist.tenant(tenant).unwrap(), *blocks, "the index says what the listing said");
    }
    assert_eq!(reader.store.calls(Operation::List), 0);
    assert_eq!(builder.blocklist.snapshot().last_poll(), Some(builder.now));
    assert_eq!(builder.metric("tempodb_blocklist_length", "c5"), Some(2.0));
    assert_eq!(builder.metric("tempodb_blocklist_tenant_index_builder", "c5"), Some(1.0));
    assert_eq!(reader.metric("tempodb_blocklist_tenant_index_builder", "c5"), Some(0.0));
}

#[tokio::test]
async fn an_unknown_block_costs_one_get_and_a_known_one_none() {
    let store = memory();
    for number in 1..=3 {
        put_block(&store, "t", number).await;
    }
    let mut process = Process::builder(&store);

    process.poll().await;
    // Both encodings of the index are looked for at the first poll.
    assert_eq!(process.store.calls(Operation::Get), 2 + 3);
    put_block(&store, "t", 4).await;
    process.poll().await;

    assert_eq!(process.store.calls(Operation::Get), 1);
    assert_eq!(process.live("t"), [1, 2, 3, 4]);
}

#[tokio::test]
async fn blocks_appear_become_compacted_and_vanish() {
    let store = memory();
    put_block(&store, "t", 1).await;
    put_block(&store, "t", 2).await;
    let mut process = Process::builder(&store);
    process.poll().await;

    mark_compacted(&store, "t", 1).await;
    process.poll().await;
    assert_eq!((process.live("t"), process.recently_compacted("t")), (vec![2], vec![1]));
    assert_eq!(process.store.calls(Operation::Get), 0);
    process.poll().await;
    assert_eq!(process.recently_compacted("t"), [1], "compacted less than two polls ago");
    process.poll().await;
    assert_eq!(process.recently_compacted("t"), Vec::<u8>::new());
    assert_eq!(process.blocklist.tenant(&tenant_id("t")).unwrap().compacted.len(), 1);

    delete_block(&store, "t", 1).await;
    delete_block(&store, "t", 2).await;
    process.poll().await;
    assert_eq!(process.blocklist.tenants(), []);
    assert_eq!(store.list("").await.unwrap(), [], "the index goes with the last block");
    process.poll().await;
    assert_eq!(process.metric("tempodb_blocklist_length", "t"), None);
}

#[tokio::test]
async fn a_block_found_compacted_at_start_is_as_old_as_its_mark() {
    let store = memory();
    put_block(&store, "t", 1).await;
    mark_compacted(&store, "t", 1).await;
    let mut process = Process::builder(&store);

    process.poll().await;
    assert_eq!(process.recently_compacted("t"), [1]);
    process.poll().await;

    assert_eq!(process.recently_compacted("t"), Vec::<u8>::new());
}

#[tokio::test]
async fn a_block_with_both_metas_counts_as_compacted() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let meta = store.get(&key("t", 1, keys::META)).await.unwrap();
    store.put(&key("t", 1, keys::META_COMPACTED), meta).await.unwrap();
    let mut process = Process::builder(&store);

    process.poll().await;

    assert_eq!((process.live("t"), process.recently_compacted("t")), (vec![], vec![1]));
}

#[tokio::test]
async fn foreign_folders_and_half_written_blocks_are_ignored() {
    let store = memory();
    put_block(&store, "t", 1).await;
    for key in
        ["t/lost+found/meta.json", "t/b996743A-4b85-47f3-988c-4299346fdf86/meta.json", "a|b/x/meta.json"]
    {
        store.put(key, Bytes::from_static(b"{}")).await.unwrap();
    }
    store.put("work.json", Bytes::from_static(b"{}")).await.unwrap();
    store.put(&key("t", 2, keys::DATA), Bytes::from_static(b"data")).await.unwrap();
    let mut process = Process::builder(&store);

    let report = process.poll().await;

    assert_eq!(report, PollReport { polled: 1, failed: vec![] });
    assert_eq!(process.live("t"), [1]);
    assert_eq!(process.quarantined("t"), []);
}

#[tokio::test]
async fn a_broken_meta_costs_exactly_its_block() {
    let store = memory();
    for number in 1..=3 {
        put_block(&store, "t", number).await;
    }
    let half = Bytes::from_static(b"{\"format\":\"vParquet4\",");
    store.put(&key("t", 2, keys::META), half).await.unwrap();
    store.put(&key("t", 3, keys::META), block("other", 3).to_json().into()).await.unwrap();
    put_block(&store, "u", 1).await;
    let mut process = Process::builder(&store);

    let report = process.poll().await;

    assert_eq!(report, PollReport { polled: 2, failed: vec![] });
    assert_eq!((process.live("t"), process.live("u")), (vec![1], vec![1]));
    let quarantined = process.quarantined("t");
    assert_eq!(quarantined.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3]);
    assert!(quarantined[0].1.contains("EOF"), "{quarantined:?}");
    assert!(quarantined[1].1.contains("tenant 'other'"), "{quarantined:?}");
    assert_eq!(process.metric("tempo_backend_blocklist_quarantined_blocks", "t"), Some(2.0));
    assert_eq!(read_index(&store, "t").await.blocks.len(), 1);
}

#[tokio::test]
async fn a_quarantined_block_is_tried_again_later_or_when_it_changed() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let good = store.get(&key("t", 1, keys::META)).await.unwrap();
    let broken = Bytes::from(vec![b'x'; good.len()]);
    store.put(&key("t", 1, keys::META), broken).await.unwrap();
    let mut process = Process::builder(&store);

    let mut gets = Vec::new();
    for _ in 0..10 {
        process.poll().await;
        gets.push(process.store.calls(Operation::Get));
    }
    // The first poll also looks for the two index objects; then the pauses are 1/2, 1, 2, 4, ... polls.
    assert_eq!(gets, [3, 1, 1, 0, 1, 0, 0, 0, 1, 0]);
    assert_eq!(process.quarantined("t").len(), 1);

    store.put(&key("t", 1, keys::META), good).await.unwrap();
    process.poll().await;

    assert_eq!(process.live("t"), [1]);
    assert_eq!(process.quarantined("t"), []);
}

#[tokio::test]
async fn a_huge_meta_is_not_even_read() {
    let store = memory();
    store.put(&key("t", 1, keys::META), Bytes::from(vec![b' '; 5 << 20])).await.unwrap();
    let mut process = Process::builder(&store);

    process.poll().await;

    assert_eq!(process.quarantined("t").len(), 1);
    assert_eq!(process.store.calls(Operation::Get), 2, "only the index objects");
}

#[tokio::test]
async fn a_denied_meta_costs_exactly_its_block() {
    let store = memory();
    put_block(&store, "t", 1).await;
    put_block(&store, "t", 2).await;
    let mut process = Process::builder(&store);
    let suffix = key("t", 1, keys::META);
    process.store.inject(When::Key { operation: Operation::Get, suffix }, Fault::Denied);

    let report = process.poll().await;

    assert!(report.failed.is_empty());
    assert_eq!(process.live("t"), [2]);
    assert_eq!(process.quarantined("t").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_meta_keeps_the_index_from_being_written() {
    let store = memory();
    put_block(&store, "t", 1).await;
    put_block(&store, "t", 2).await;
    let mut process = Process::builder(&store);
    let suffix = key("t", 1, keys::META);
    process.store.inject(When::Key { operation: Operation::Get, suffix }, Fault::Unavailable);

    process.poll().await;
    assert_eq!(process.live("t"), [2]);
    assert!(store.get(&format!("t/{INDEX_PB}")).await.unwrap_err().is_not_found());

    process.store.heal();
    process.poll().await;
    assert_eq!(process.live("t"), [1, 2]);
    assert_eq!(read_index(&store, "t").await.blocks.len(), 2);
}

#[tokio::test]
async fn a_tenant_that_fails_keeps_its_list_and_costs_no_other() {
    let store = memory();
    put_block(&store, "t", 1).await;
    put_block(&store, "u", 1).await;
    let mut process = Process::builder(&store);
    process.poll().await;
    put_block(&store, "t", 2).await;
    put_block(&store, "u", 2).await;
    let when = When::Key { operation: Operation::List, suffix: "t".to_owned() };
    process.store.inject(when, Fault::Unavailable);

    let report = process.poll().await;

    assert_eq!(report, PollReport { polled: 1, failed: vec![tenant_id("t")] });
    assert_eq!((process.live("t"), process.live("u")), (vec![1], vec![1, 2]));
    let last_success = process.metric("tempo_backend_blocklist_poll_last_success_timestamp_seconds", "");
    assert!(last_success.unwrap() < process.now.as_second() as f64, "the first poll");
    assert_eq!(process.metric("tempodb_blocklist_poll_errors_total", "t"), Some(1.0));
    assert_eq!(process.store.calls(Operation::List), 3, "one retry for t, one listing of u");

    process.store.heal();
    process.poll().await;
    assert_eq!(process.live("t"), [1, 2]);
}

#[tokio::test]
async fn nothing_changes_when_the_tenants_cannot_be_listed() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let mut process = Process::builder(&store);
    process.poll().await;
    let when = When::Key { operation: Operation::ListFolders, suffix: String::new() };
    process.store.inject(when, Fault::Unavailable);

    let result = process.poller.poll_once(process.now).await;

    assert!(result.unwrap_err().is_retryable());
    assert_eq!(process.live("t"), [1]);
}

#[tokio::test]
async fn the_index_is_written_only_when_something_changed() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let mut process = Process::builder(&store);

    let mut puts = Vec::new();
    for change in ["start", "none", "new block", "none", "compacted", "none", "index deleted", "none"] {
        match change {
            "new block" => put_block(&store, "t", 2).await,
            "compacted" => mark_compacted(&store, "t", 1).await,
            "index deleted" => store.delete(&format!("t/{INDEX_JSON}")).await.unwrap(),
            _ => {}
        }
        process.poll().await;
        puts.push(process.store.calls(Operation::Put));
    }

    assert_eq!(puts, [2, 0, 2, 0, 2, 0, 2, 0]);
    let index = read_index(&store, "t").await;
    assert_eq!((index.blocks.len(), index.compacted.len()), (1, 1));
}

#[tokio::test]
async fn an_unchanged_index_is_written_again_before_it_is_stale() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let interval = options(true).interval;
    let mut process =
        Process::new(&store, PollerOptions { stale_index_after: interval * 4, ..options(true) });

    let mut puts = Vec::new();
    for _ in 0..5 {
        process.poll().await;
        puts.push(process.store.calls(Operation::Put));
    }

    assert_eq!(puts, [2, 0, 2, 0, 2]);
}

#[tokio::test]
async fn a_failed_index_write_costs_nothing_but_the_index() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let mut process = Process::builder(&store);
    let when = When::Key { operation: Operation::Put, suffix: INDEX_JSON.to_owned() };
    process.store.inject(when, Fault::Unavailable);

    let report = process.poll().await;
    assert!(report.failed.is_empty());
    assert_eq!(process.live("t"), [1]);
    assert_eq!(process.metric("tempodb_blocklist_tenant_index_errors_total", "t"), Some(1.0));

    process.store.heal();
    process.poll().await;
    assert_eq!(read_index(&store, "t").await.blocks.len(), 1);
}

#[tokio::test]
async fn readers_take_the_index_and_only_that() {
    let store = memory();
    put_block(&store, "t", 1).await;
    Process::builder(&store).poll().await;
    put_block(&store, "t", 2).await;
    let mut reader = Process::reader(&store);

    reader.poll().await;

    assert_eq!(reader.live("t"), [1], "the second block is not in the index yet");
    assert_eq!(reader.store.calls(Operation::List), 0);
    assert_eq!(reader.store.calls(Operation::Get), 1);
    assert_eq!(reader.store.calls(Operation::Put), 0);
}

#[tokio::test]
async fn the_json_index_is_read_only_if_there_is_no_protobuf() {
    let store = memory();
    put_block(&store, "t", 1).await;
    Process::builder(&store).poll().await;
    let mut options = options(false);
    options.falls_back_to_listing = false;

    store.put(&format!("t/{INDEX_PB}"), Bytes::from_static(b"broken")).await.unwrap();
    let mut with_broken_pb = Process::new(&store, options.clone());
    let report = with_broken_pb.poll().await;
    assert_eq!(report.failed, [tenant_id("t")]);

    store.delete(&format!("t/{INDEX_PB}")).await.unwrap();
    let mut without_pb = Process::new(&store, options);
    without_pb.poll().await;
    assert_eq!(without_pb.live("t"), [1]);
}

#[tokio::test]
async fn readers_list_when_the_index_is_absent_broken_or_stale() {
    for damage in ["absent", "broken", "stale"] {
        let store = memory();
        put_block(&store, "t", 1).await;
        Process::builder(&store).poll().await;
        put_block(&store, "t", 2).await;
        let mut options = options(false);
        match damage {
            "absent" => {
                store.delete(&format!("t/{INDEX_PB}")).await.unwrap();
                store.delete(&format!("t/{INDEX_JSON}")).await.unwrap();
            }
            "broken" => store.put(&format!("t/{INDEX_PB}"), Bytes::from_static(b"x")).await.unwrap(),
            _ => options.stale_index_after = Duration::from_secs(60),
        }
        let before = store.list("t").await.unwrap();
        let mut reader = Process::new(&store, options);
        reader.now += Duration::from_secs(3600);

        reader.poll().await;

        assert_eq!(reader.live("t"), [1, 2], "{damage}");
        assert_eq!(store.list("t").await.unwrap(), before, "{damage}: only the builder writes");
    }
}

#[tokio::test]
async fn blocks_of_other_tenants_in_an_index_are_left_out() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let index = TenantIndex {
        created_at: Timestamp::now(),
        blocks: vec![Arc::new(block("t", 1)), Arc::new(block("victim", 2)), Arc::new(block("t", 1))],
        compacted: vec![],
    };
    store.put(&format!("t/{INDEX_PB}"), index.to_pb_zst().unwrap().into()).await.unwrap();
    let mut reader = Process::reader(&store);

    reader.poll().await;

    assert_eq!(reader.live("t"), [1]);
}

#[tokio::test]
async fn a_flushed_block_is_not_read_again_and_outlives_an_older_index() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let mut builder = Process::builder(&store);
    let mut reader = Process::reader(&store);
    builder.poll().await;
    put_block(&store, "t", 2).await;
    builder.blocklist.add(Arc::new(block("t", 2)));
    reader.blocklist.add(Arc::new(block("t", 2)));

    reader.poll().await;
    builder.poll().await;

    assert_eq!(reader.live("t"), [1, 2]);
    assert_eq!(builder.store.calls(Operation::Get), 0);
    assert_eq!(read_index(&store, "t").await.blocks.len(), 2);
}

#[tokio::test]
async fn the_first_blocks_of_a_new_tenant_are_listed_before_any_poll() {
    let store = memory();
    let process = Process::builder(&store);

    process.blocklist.add(Arc::new(block("new", 1)));

    assert_eq!(process.live("new"), [1]);
}

#[tokio::test]
async fn a_first_poll_in_which_every_tenant_fails_does_not_count() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let mut process = Process::builder(&store);
    let when = When::Key { operation: Operation::List, suffix: "t".to_owned() };
    process.store.inject(when, Fault::Denied);

    process.poll().await;
    assert_eq!(process.blocklist.snapshot().last_poll(), None);

    process.store.heal();
    process.poll().await;
    assert_eq!(process.blocklist.snapshot().last_poll(), Some(process.now));
}

/// A store that fails a fifth of its calls never makes a reader lose a block that was listed.
#[tokio::test(start_paused = true)]
async fn random_failures_never_lose_listed_blocks() {
    let store = memory();
    let mut process = Process::builder(&store);
    process.store.inject(When::Probability(0.2), Fault::Unavailable);
    let mut seen: BTreeSet<u8> = BTreeSet::new();

    for number in 1..=60 {
        put_block(&store, "t", number).await;
        process.now += Duration::from_secs(300);
        drop(process.poller.poll_once(process.now).await);
        let now: BTreeSet<u8> = process.live("t").into_iter().collect();
        assert!(now.is_superset(&seen), "{number}: {seen:?} then {now:?}");
        seen = now;
    }

    process.store.heal();
    process.poll().await;
    assert_eq!(process.live("t").len(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_loop_polls_at_once_recovers_soon_and_stops_when_told() {
    let store = memory();
    put_block(&store, "t", 1).await;
    let process = Process::builder(&store);
    process.store.inject(When::From(0), Fault::Unavailable);
    let mut changes = process.blocklist.changes();
    let stop = CancellationToken::new();
    let faulty = Arc::clone(&process.store);
    let started = tokio::time::Instant::now();
    let run = process.poller.run(stop.clone());
    let story = async {
        while faulty.total_calls() < 3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        faulty.heal();
        changes.wait_for(|snapshot| snapshot.last_poll().is_some()).await.unwrap();
        let recovered = started.elapsed();
        stop.cancel();
        recovered
    };

    let ((), recovered) = tokio::join!(run, story);

    assert!(recovered < Duration::from_secs(120), "{recovered:?}: well below blocklist_poll");
}

#[tokio::test(start_paused = true)]
async fn the_loop_does_not_repeat_the_poll_that_came_before_it() {
    let store = memory();
    let mut process = Process::builder(&store);
    process.poll().await;
    let calls = process.store.total_calls();
    let stop = CancellationToken::new();
    let faulty = Arc::clone(&process.store);
    let story = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let repeated = faulty.total_calls() - calls;
        stop.cancel();
        repeated
    };

    let ((), repeated) = tokio::join!(process.poller.run(stop.clone()), story);

    assert_eq!(repeated, 0);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
