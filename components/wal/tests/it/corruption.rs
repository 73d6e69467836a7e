//! Damage on disk: whatever byte is hit, at most the record it belongs to is lost, the damage is reported, and the
//! damaged file is kept.

use tempo_wal::{Record, ReplayIssue};

use crate::{
    fake_disk::{FakeDisk, Random},
    fixture::{append, id, open, open_with_segments_of, record, recover, segment},
};

/// Where the records of segment 1 begin, and the end of the last.
type Offsets = Vec<usize>;

/// Three records in segment 1, one in segment 2, and the bytes of segment 1.
async fn two_segments() -> (FakeDisk, Vec<u8>, Offsets) {
    let disk = FakeDisk::default();
    let (wal, _) = open_with_segments_of(&disk, 400);
    let mut offsets = vec![128];
    for id in 1..=3 {
        append(&wal, record(u8::try_from(id).unwrap(), id, 90)).await;
        offsets.push(disk.read(&segment(1)).len());
    }
    append(&wal, record(4, 4, 90)).await;
    assert!(disk.names().contains(&format!("{:020}.wal", 2)));
    disk.kill_process();
    let bytes = disk.read(&segment(1));
    (disk, bytes, offsets)
}

/// Only the first segment, so that its end is not told by another.
async fn one_segment() -> (FakeDisk, Vec<u8>, Offsets) {
    let (disk, bytes, offsets) = two_segments().await;
    disk.remove(&segment(2));
    (disk, bytes, offsets)
}

fn reopen_with(disk: &FakeDisk, bytes: &[u8]) -> (Vec<Record>, Vec<ReplayIssue>) {
    disk.write(&segment(1), bytes);
    let (_wal, recovery) = open(disk);
    let recovered = recover(recovery);
    disk.kill_process();
    recovered
}

fn ids(records: &[Record]) -> Vec<u64> {
    records.iter().map(id).collect()
}

/// Which of the records 1 to 3 a byte belongs to; `None` for the segment header.
fn owner(offsets: &Offsets, at: usize) -> Option<u64> {
    let index = offsets[..3].iter().rposition(|offset| *offset <= at)?;
    Some(index as u64 + 1)
}

#[tokio::test]
async fn every_bit_flip_costs_at_most_the_record_it_hits() {
    let (disk, bytes, offsets) = two_segments().await;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;

            let (records, issues) = reopen_with(&disk, &damaged);

            let lost = owner(&offsets, at);
            let expected: Vec<_> = (1..=4).filter(|id| Some(*id) != lost).collect();
            assert_eq!(ids(&records), expected, "bit {bit} of byte {at}");
            assert_eq!(issues.len(), usize::from(lost.is_some()), "bit {bit} of byte {at}: {issues:?}");
            let place = lost.map(|_| *offsets[..3].iter().rfind(|offset| **offset <= at).unwrap() as u64);
            assert_eq!(issues.first().and_then(offset), place);
            for (recovered, id) in records.iter().zip(expected) {
                assert_eq!(*recovered, record(u8::try_from(id).unwrap(), id, 90));
            }
        }
    }
}

fn offset(issue: &ReplayIssue) -> Option<u64> {
    match issue {
        ReplayIssue::TornTail { offset, .. }
        | ReplayIssue::DamagedRecord { offset, .. }
        | ReplayIssue::DamagedRegion { offset, .. } => Some(*offset),
        ReplayIssue::UnreadableSegment { .. }
        | ReplayIssue::ShortSegment { .. }
        | ReplayIssue::MissingSegments { .. }
        | ReplayIssue::Read { .. } => None,
    }
}

#[tokio::test]
async fn every_bit_flip_of_the_only_segment_costs_at_most_the_record_it_hits() {
    let (disk, bytes, offsets) = one_segment().await;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;

            let (records, issues) = reopen_with(&disk, &damaged);

            let lost = owner(&offsets, at);
            let expected: Vec<_> = (1..=3).filter(|id| Some(*id) != lost).collect();
            assert_eq!(ids(&records), expected, "bit {bit} of byte {at}");
            assert_eq!(issues.len(), usize::from(lost.is_some()), "bit {bit} of byte {at}: {issues:?}");
        }
    }
}

#[tokio::test]
async fn damage_of_each_kind_is_reported_as_what_it_is() {
    let (disk, bytes, offsets) = two_segments().await;
    let second = offsets[1];
    let header = second..second + 40;
    let body = second + 40..offsets[2];
    let zeroed = |range: std::ops::Range<usize>| {
        let mut bytes = bytes.clone();
        bytes[range].fill(0);
        bytes
    };
    let cases = [
        ("both segment headers", zeroed(0..128), vec![4], "unreadable_segment"),
        ("marker", zeroed(second..second + 4), vec![1, 3, 4], "damaged_region"),
        ("kind", zeroed(second + 4..second + 5), vec![1, 3, 4], "damaged_region"),
        ("stored length", zeroed(second + 8..second + 12), vec![1, 3, 4], "damaged_region"),
        ("payload length", zeroed(second + 12..second + 16), vec![1, 3, 4], "damaged_region"),
        ("block id", zeroed(second + 16..second + 32), vec![1, 3, 4], "damaged_region"),
        ("whole header", zeroed(header), vec![1, 3, 4], "damaged_region"),
        ("tenant", zeroed(body.start..body.start + 8), vec![1, 3, 4], "damaged_record"),
        ("payload", zeroed(body.start + 8..body.end), vec![1, 3, 4], "damaged_record"),
        ("whole record", zeroed(second..offsets[2]), vec![1, 3, 4], "damaged_region"),
        ("two records", zeroed(second..offsets[3]), vec![1, 4], "damaged_region"),
        ("cut inside the third record", bytes[..offsets[3] - 5].to_vec(), vec![1, 2, 4], "short_segment"),
        ("cut behind the second record", bytes[..offsets[2]].to_vec(), vec![1, 2, 4], "short_segment"),
        ("cut to its header", bytes[..128].to_vec(), vec![4], "short_segment"),
        ("cut to nothing", Vec::new(), vec![4], "short_segment"),
    ];
    for (name, damaged, expected, kind) in cases {
        let (records, issues) = reopen_with(&disk, &damaged);

        assert_eq!(ids(&records), expected, "{name}");
        assert_eq!(issues.first().map(ReplayIssue::kind), Some(kind), "{name}: {issues:?}");
        assert!(issues.iter().all(ReplayIssue::is_loss), "{name}");
        assert!(disk.names().iter().any(|name| name.starts_with("00000000000000000001.wal")), "{name}");
        disk.remove(&segment(1).with_extension("wal.damaged"));
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_at_every_length_and_reported() {
    let (disk, bytes, offsets) = one_segment().await;
    for len in 129..bytes.len() {
        let whole = offsets.iter().filter(|offset| **offset <= len).count() as u64 - 1;
        let end = offsets[usize::try_from(whole).unwrap()];

        let (records, issues) = reopen_with(&disk, &bytes[..len]);

        assert_eq!(ids(&records), (1..=whole).collect::<Vec<_>>(), "{len} bytes");
        assert_eq!(disk.read(&segment(1)).len(), end);
        match &issues[..] {
            [] => assert_eq!(len, end),
            [ReplayIssue::TornTail { offset, bytes, .. }] => {
                assert_eq!((*offset, *bytes), (end as u64, (len - end) as u64));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn garbage_behind_the_last_record_is_a_torn_tail() {
    let (disk, bytes, _) = one_segment().await;
    let mut random = Random(5);
    for round in 0..200 {
        let mut longer = bytes.clone();
        // Starts with a true marker every other time.
        longer.extend_from_slice(if round % 2 == 0 { &[0xf5, b'W', b'R', 0xf6] } else { b"" });
        longer.extend((0..random.below(2000)).map(|_| u8::try_from(random.below(256)).unwrap()));

        let (records, issues) = reopen_with(&disk, &longer);

        assert_eq!(ids(&records), [1, 2, 3]);
        assert!(issues.iter().all(|issue| !issue.is_loss()), "{issues:?}");
        assert_eq!(disk.read(&segment(1)), bytes);
    }
}

#[tokio::test]
async fn a_record_copied_elsewhere_is_not_taken_for_one() {
    let (disk, bytes, offsets) = two_segments().await;
    let mut damaged = bytes.clone();
    let first = bytes[offsets[0]..offsets[1]].to_vec();
    let len = first.len().min(offsets[2] - offsets[1]);
    damaged[offsets[1]..offsets[1] + len].copy_from_slice(&first[..len]);

    let (records, issues) = reopen_with(&disk, &damaged);

    assert_eq!(ids(&records), [1, 3, 4]);
    assert_eq!(issues.len(), 1);
}

#[tokio::test]
async fn random_damage_loses_no_other_segment() {
    let mut random = Random(11);
    let (disk, bytes, _) = two_segments().await;
    for _ in 0..300 {
        let mut damaged = bytes.clone();
        for _ in 0..random.below(40) {
            // Not the version: a damaged one may look like a later version, which is refused.
            let at = 12 + random.below(damaged.len() - 12);
            damaged[at] = u8::try_from(random.below(256)).unwrap();
        }
        damaged.truncate(random.below(damaged.len() + 1));

        let (records, _) = reopen_with(&disk, &damaged);

        assert_eq!(records.last().map(id), Some(4));
    }
}

#[tokio::test]
async fn a_segment_behind_one_with_a_lost_header_is_still_read_to_its_end() {
    // Segment 2's header is lost, and with it what it says about the end of segment 1.
    let (disk, bytes, _) = two_segments().await;
    let mut second = disk.read(&segment(2));
    second[..128].fill(0xaa);
    disk.write(&segment(2), &second);

    let (records, issues) = reopen_with(&disk, &bytes);

    assert_eq!(ids(&records), [1, 2, 3]);
    assert_eq!(issues.iter().map(ReplayIssue::kind).collect::<Vec<_>>(), ["unreadable_segment"]);
    assert_eq!(disk.read(&segment(2)), second);
}
