//! Added blocks against racing polls, and the order of lists.

use super::*;
use crate::block_meta::BlockFormat;

fn tenant() -> TenantId {
    TenantId::parse("tenant").unwrap()
}

fn block(number: u8) -> Arc<BlockMeta> {
    Arc::new(BlockMeta {
        format: BlockFormat::VParquet4,
        block_id: BlockId::from_bytes([number; 16]),
        tenant: tenant(),
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
    })
}

fn live(blocks: &[Arc<BlockMeta>]) -> TenantBlocks {
    TenantBlocks { live: blocks.into(), ..TenantBlocks::default() }
}

fn listed(blocklist: &Blocklist) -> Vec<u8> {
    blocklist.metas(&tenant()).iter().map(|meta| meta.block_id.as_bytes()[0]).collect()
}

#[test]
fn added_blocks_are_listed_at_once_and_in_order() {
    let blocklist = Blocklist::new();

    for number in [3, 1, 2, 1] {
        blocklist.add(block(number));
    }

    assert_eq!(listed(&blocklist), [1, 2, 3]);
    assert!(blocklist.tenant(&tenant()).unwrap().get_live(BlockId::from_bytes([2; 16])).is_some());
    assert_eq!(blocklist.tenants(), [tenant()]);
}

#[test]
fn a_block_added_during_a_listing_survives_it() {
    let blocklist = Blocklist::new();
    let start = blocklist.listing_starts();
    blocklist.add(block(2));

    blocklist.replace(&tenant(), live(&[block(1), block(3)]), Source::Listing(start));

    assert_eq!(listed(&blocklist), [1, 2, 3]);
}

#[test]
fn a_block_added_before_a_listing_that_lacks_it_is_gone() {
    let blocklist = Blocklist::new();
    blocklist.add(block(2));
    let start = blocklist.listing_starts();

    blocklist.replace(&tenant(), live(&[block(1)]), Source::Listing(start));

    assert_eq!(listed(&blocklist), [1]);
}

#[test]
fn a_block_once_shown_is_gone_with_the_next_poll_that_lacks_it() {
    let blocklist = Blocklist::new();
    let start = blocklist.listing_starts();
    blocklist.add(block(1));
    blocklist.replace(&tenant(), live(&[block(1)]), Source::Listing(start));

    blocklist.replace(&tenant(), TenantBlocks::default(), Source::Listing(start));

    assert_eq!(listed(&blocklist), Vec::<u8>::new());
    assert_eq!(blocklist.tenants(), []);
}

#[test]
fn an_added_block_that_was_compacted_meanwhile_is_not_live_again() {
    let blocklist = Blocklist::new();
    let start = blocklist.listing_starts();
    blocklist.add(block(1));
    let compacted = CompactedBlockMeta { meta: block(1), compacted_time: Timestamp::now() };
    let found = TenantBlocks { compacted: [compacted].into(), ..live(&[block(2)]) };

    blocklist.replace(&tenant(), found, Source::Listing(start));

    assert_eq!(listed(&blocklist), [2]);
}

#[test]
fn only_an_index_made_well_after_the_flush_can_drop_an_added_block() {
    let slack = Duration::from_secs(300);
    let blocklist = Blocklist::new();
    blocklist.add(block(1));
    let now = Timestamp::now();

    for seconds in [-1000, 0, 290] {
        let created_at = now + Duration::from_secs(1000) + jiff::SignedDuration::from_secs(seconds - 1000);
        blocklist.replace(&tenant(), live(&[block(2)]), Source::Index { created_at, slack });
        assert_eq!(listed(&blocklist), [1, 2], "{seconds}");
    }
    let created_at = now + Duration::from_secs(310);
    blocklist.replace(&tenant(), live(&[block(2)]), Source::Index { created_at, slack });

    assert_eq!(listed(&blocklist), [2]);
}

#[test]
fn watchers_hear_of_changes_and_of_nothing_else() {
    let blocklist = Blocklist::new();
    let mut changes = blocklist.changes();
    let start = blocklist.listing_starts();

    blocklist.replace(&tenant(), TenantBlocks::default(), Source::Listing(start));
    assert!(!changes.has_changed().unwrap());

    blocklist.replace(&tenant(), live(&[block(1)]), Source::Listing(start));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();

    blocklist.replace(&tenant(), live(&[block(1)]), Source::Listing(start));
    assert!(!changes.has_changed().unwrap());

    blocklist.add(block(2));
    assert_eq!(changes.borrow_and_update().tenant(&tenant()).unwrap().live.len(), 2);
}

#[test]
fn a_snapshot_stays_what_it_was() {
    let blocklist = Blocklist::new();
    blocklist.add(block(1));
    let before = blocklist.snapshot();

    blocklist.add(block(2));

    assert_eq!(before.tenant(&tenant()).unwrap().live.len(), 1);
    assert_eq!(blocklist.snapshot().tenants().count(), 1);
    assert_eq!(before.last_poll(), None);
}
