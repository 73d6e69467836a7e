//! Which segments are needed, as a pure matter.

use super::*;

fn block(number: u8) -> BlockId {
    BlockId::from_bytes([number; 16])
}

/// Segments 1, 2, … with these blocks.
fn retention(segments: &[&[u8]]) -> Retention {
    let mut retention = Retention::default();
    for (number, blocks) in (1..).zip(segments) {
        retention.add_segment(number, PathBuf::new(), 10);
        for (offset, of) in (128..).zip(*blocks) {
            retention.appended(block(*of), offset);
        }
    }
    retention
}

fn taken(retention: &mut Retention, active: u64) -> Vec<u64> {
    retention.take_released(active).into_iter().map(|segment| segment.number).collect()
}

#[test]
fn segments_go_oldest_first_and_never_the_active_one() {
    let mut retention = retention(&[&[1], &[2], &[1], &[2]]);
    retention.release(block(1));
    assert_eq!(retention.oldest_needed(4), Some(2));
    assert_eq!(taken(&mut retention, 4), [1]);
    assert_eq!(retention.oldest_needed(4), None);

    retention.release(block(2));

    assert_eq!(retention.oldest_needed(4), Some(4));
    assert_eq!(taken(&mut retention, 4), [2, 3]);
    assert_eq!((retention.segment_count(), retention.disk_bytes()), (1, 10));
}

#[test]
fn the_oldest_block_is_the_first_written_one_of_the_oldest_needed_segment() {
    let mut retention = retention(&[&[3], &[5, 4], &[6]]);
    assert_eq!(retention.oldest_block(), Some(block(3)));

    retention.release(block(3));
    assert_eq!(retention.oldest_block(), Some(block(5)));

    for released in [4, 5, 6] {
        retention.release(block(released));
    }
    assert_eq!(retention.oldest_block(), None);
}

#[test]
fn everything_is_released_only_if_there_was_something() {
    let mut empty = retention(&[&[1], &[]]);
    empty.release(block(1));
    let mut full = retention(&[&[1], &[2]]);
    full.release(block(1));

    assert!(!empty.is_all_released(), "an empty newest segment has nothing to give back");
    assert!(!full.is_all_released());
    full.release(block(2));
    assert!(full.is_all_released());
}

#[test]
fn blocks_that_replay_could_not_deliver_are_forgotten_in_what_was_replayed() {
    let mut retention = retention(&[&[1, 2], &[2], &[2]]);

    retention.forget_undelivered(2, &HashSet::from([block(1)]));

    assert!(retention.is_live(1, block(1)));
    assert!(!retention.is_live(1, block(2)) && !retention.is_live(2, block(2)));
    assert!(retention.is_live(3, block(2)));
}
