use jiff::Timestamp;
use tempo_backend::BlockFormat;
use tempo_model::{BlockId, TenantId};

use super::*;

fn meta(id: u8, start: i64, end: i64) -> Arc<BlockMeta> {
    Arc::new(BlockMeta {
        format: BlockFormat::VParquet4,
        block_id: BlockId::from_bytes([id; 16]),
        tenant: TenantId::single(),
        start_time: Timestamp::from_second(start).unwrap(),
        end_time: Timestamp::from_second(end).unwrap(),
        total_objects: 1,
        size: 1,
        compaction_level: 0,
        index_page_size: 0,
        total_records: 1,
        bloom_shards: 1,
        footer_size: 0,
        dedicated_columns: [].into(),
        replication_factor: 1,
    })
}

fn range(first: u8, last: u8, start_unix_secs: u64, end_unix_secs: u64) -> BlockRange {
    let [first, last] = [first, last].map(|byte| BlockId::from_bytes([byte; 16]));
    BlockRange { first, last, start_unix_secs, end_unix_secs }
}

fn chosen(live: &[Arc<BlockMeta>], compacted: &[Arc<BlockMeta>], range: &BlockRange) -> Vec<(u8, bool)> {
    let blocks =
        TenantBlocks { live: live.into(), recently_compacted: compacted.into(), ..TenantBlocks::default() };
    let all = candidates(&blocks, range);
    all.iter().map(|candidate| (candidate.meta.block_id.as_bytes()[0], candidate.is_compacted)).collect()
}

#[test]
fn both_ends_of_the_id_range_belong_to_it() {
    let live: Vec<_> = (1..=5).map(|id| meta(id, 100, 200)).collect();

    assert_eq!(chosen(&live, &[], &range(2, 4, 0, 0)), [(2, false), (3, false), (4, false)]);
    assert_eq!(chosen(&live, &[], &range(3, 3, 0, 0)), [(3, false)]);
    assert_eq!(chosen(&live, &[], &range(0, 255, 0, 0)).len(), 5);
    assert_eq!(chosen(&live, &[], &range(4, 2, 0, 0)), []);
    assert_eq!(chosen(&live, &[], &range(6, 9, 0, 0)), []);
}

#[test]
fn recently_compacted_blocks_are_looked_in_too() {
    let found = chosen(&[meta(1, 0, 1)], &[meta(0, 0, 1), meta(2, 0, 1)], &range(0, 255, 0, 0));

    assert_eq!(found, [(1, false), (0, true), (2, true)]);
}

#[test]
fn only_blocks_that_overlap_the_time_are_looked_in() {
    let year_one = -62_135_596_800;
    let cases = [
        (100, 200, (0, 0), true),
        (100, 200, (200, 300), true),
        (100, 200, (201, 300), false),
        (100, 200, (50, 100), true),
        (100, 200, (50, 99), false),
        (100, 200, (201, 0), false),
        (100, 200, (0, 99), false),
        // Reversed in the meta.
        (200, 100, (50, 100), true),
        (200, 100, (201, 300), false),
        // Not known.
        (year_one, year_one, (50, 100), true),
        (year_one, 10, (50, 100), true),
    ];

    for (start, end, (from, to), want) in cases {
        let found = chosen(&[meta(1, start, end)], &[], &range(0, 255, from, to));

        assert_eq!(!found.is_empty(), want, "block {start}..{end}, query {from}..{to}");
    }
}
