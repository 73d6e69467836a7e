//! When segment files go, and that what was released stays so.

use crate::{
    fake_disk::{FakeDisk, Operation, Tear},
    fixture::{append, block, id, open, open_with_segments_of, record, recover, recover_after_kill, segment},
};

fn segments(disk: &FakeDisk) -> Vec<u64> {
    let number = |name: String| name.strip_suffix(".wal").map(|digits| digits.parse().unwrap());
    disk.names().into_iter().filter_map(number).collect()
}

#[tokio::test]
async fn a_segment_goes_when_everything_in_it_and_before_it_was_released() {
    let disk = FakeDisk::default();
    let (wal, _) = open_with_segments_of(&disk, 150);
    for number in [1, 2, 3, 4] {
        append(&wal, record(number, u64::from(number), 200)).await;
    }

    wal.release(block(2)).await.unwrap();
    let after_second = (segments(&disk), wal.oldest_block());
    wal.release(block(1)).await.unwrap();
    let after_first = (segments(&disk)[0], wal.oldest_block());

    assert_eq!(after_second.0[..2], [1, 2]);
    assert_eq!(after_second.1, Some(block(1)));
    assert_eq!(after_first, (3, Some(block(3))));
}

#[tokio::test]
async fn a_released_block_stays_released_when_the_segment_with_its_release_record_goes() {
    // Block 1 lies in segment 1, which block 2 pins; its release record lies in a later segment, which must stay.
    let disk = FakeDisk::default();
    let (wal, _) = open_with_segments_of(&disk, 400);
    append(&wal, record(1, 1, 100)).await;
    append(&wal, record(2, 2, 300)).await;
    append(&wal, record(3, 3, 100)).await;
    wal.release(block(1)).await.unwrap();
    append(&wal, record(3, 4, 300)).await;
    append(&wal, record(4, 5, 300)).await;
    wal.release(block(3)).await.unwrap();

    let (records, issues) = recover_after_kill(&disk);

    assert_eq!(records.iter().map(id).collect::<Vec<_>>(), [2, 5]);
    assert!(issues.is_empty(), "{issues:?}");
}

#[tokio::test]
async fn removals_that_did_not_reach_the_disk_bring_nothing_back() {
    for seed in 0..64 {
        let disk = FakeDisk::default();
        let (wal, _) = open_with_segments_of(&disk, 150);
        for id in 1..=6 {
            append(&wal, record(1, id, 200)).await;
        }
        append(&wal, record(2, 7, 200)).await;
        wal.release(block(1)).await.unwrap();
        assert_eq!(segments(&disk).len(), 2);

        // Any of the six removals may be undone.
        disk.cut_power(seed, Tear::Prefix);
        let (_wal, recovery) = open(&disk);
        let (records, issues) = recover(recovery);

        assert_eq!(records.iter().map(id).collect::<Vec<_>>(), [7]);
        assert!(issues.is_empty(), "seed {seed}: {issues:?}");
        assert_eq!(segments(&disk).len(), 2);
    }
}

#[tokio::test]
async fn a_removal_that_fails_is_made_up_for_at_the_next_start() {
    let disk = FakeDisk::default();
    let (wal, _) = open_with_segments_of(&disk, 150);
    append(&wal, record(1, 1, 200)).await;
    append(&wal, record(2, 2, 200)).await;

    disk.fail_next(Operation::Remove, std::io::ErrorKind::Other);
    wal.release(block(1)).await.unwrap();
    let left = segments(&disk);
    disk.kill_process();
    let (_wal, recovery) = open(&disk);

    assert_eq!(left[0], 1);
    assert_eq!(segments(&disk)[0], 2);
    assert_eq!(recover(recovery).0.len(), 1);
}

#[tokio::test]
async fn a_log_of_which_everything_was_released_shrinks_to_an_empty_segment() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 10_000)).await;

    wal.release(block(1)).await.unwrap();

    assert_eq!(segments(&disk), [2]);
    assert!(wal.disk_bytes() < 300);
    assert_eq!(wal.oldest_block(), None);
    assert!(recover_after_kill(&disk).0.is_empty());
}

#[tokio::test]
async fn records_appended_after_a_release_of_their_block_are_kept() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 100)).await;
    append(&wal, record(2, 2, 100)).await;
    wal.release(block(1)).await.unwrap();
    append(&wal, record(1, 3, 100)).await;

    assert_eq!(recover_after_kill(&disk).0.iter().map(id).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn blocks_released_during_replay_are_not_read_further() {
    let disk = FakeDisk::default();
    let (wal, _) = open_with_segments_of(&disk, 150);
    for id in 1..=3 {
        append(&wal, record(1, id, 200)).await;
    }
    append(&wal, record(2, 4, 200)).await;
    disk.kill_process();

    let (wal, mut recovery) = open(&disk);
    let first = recovery.next().unwrap().unwrap();
    wal.release(block(1)).await.unwrap();
    let rest: Vec<_> = recovery.map(|item| id(&item.unwrap())).collect();

    assert_eq!(id(&first), 1);
    assert_eq!(rest, [4]);
    assert_eq!(segments(&disk)[0], 4);
}

#[tokio::test]
async fn a_damaged_segment_is_set_aside_when_what_could_be_read_was_released() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    for (number, id) in [(1, 1), (2, 2), (3, 3)] {
        append(&wal, record(number, id, 200)).await;
    }
    disk.kill_process();
    let mut bytes = disk.read(&segment(1));
    // In the body of the second record; only its block was in it.
    let at = 128 + (bytes.len() - 128) / 2;
    bytes[at] ^= 1;
    disk.write(&segment(1), &bytes);

    let (wal, recovery) = open(&disk);
    let (records, issues) = recover(recovery);
    wal.release(block(1)).await.unwrap();
    wal.release(block(3)).await.unwrap();

    assert_eq!(records.iter().map(id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(issues.iter().map(|issue| issue.kind()).collect::<Vec<_>>(), ["damaged_record"]);
    let aside = std::path::PathBuf::from(format!("{}.damaged", segment(1).display()));
    assert_eq!(disk.read(&aside), bytes);
    let (records, issues) = recover_after_kill(&disk);
    assert!(records.is_empty() && issues.is_empty());
}
