use super::*;

fn ids(count: u32) -> Vec<TraceId> {
    let mut ids: Vec<TraceId> = (0..count)
        .map(|n| {
            TraceId::from_bytes(
                u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes(),
            )
        })
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Row groups of 100, 100, ... rows with pages of 30, 30, 30, 10 rows and three leaves.
fn layouts(rows: u64) -> Vec<RowGroupLayout> {
    let mut layouts = Vec::new();
    let (mut first_row, mut offset) = (0, 4);
    while first_row < rows {
        let count = 100.min(rows - first_row);
        let mut page_rows = vec![30; usize::try_from(count / 30).unwrap()];
        page_rows.extend(Some(count % 30).filter(|&rest| rest > 0));
        let start = offset;
        let mut take = |bytes: u64| {
            offset += bytes;
            offset - bytes..offset
        };
        let mut pages = |bytes: u64| {
            let first_rows = (0..).step_by(30);
            page_rows
                .iter()
                .zip(first_rows)
                .map(|(_, first_row)| PageLocation { bytes: take(bytes), first_row })
                .collect()
        };
        let leaves = vec![
            LeafLayout { codec: PageCodec::Uncompressed, dictionary: None, pages: pages(700) },
            LeafLayout { codec: PageCodec::Snappy, dictionary: None, pages: pages(10_000) },
        ];
        let dictionary = Some(take(77));
        let last = LeafLayout {
            codec: PageCodec::Zstd,
            dictionary,
            pages: vec![PageLocation { bytes: take(5), first_row: 0 }],
        };
        let leaves = leaves.into_iter().chain([last]).collect();
        layouts.push(RowGroupLayout { first_row, rows: count, bytes: start..offset, page_rows, leaves });
        first_row += count;
    }
    layouts
}

fn encoded(count: u32) -> (Vec<TraceId>, Vec<RowGroupLayout>, Vec<u8>) {
    let ids = ids(count);
    let layouts = layouts(ids.len() as u64);
    let mut builder = TraceIndexBuilder::default();
    layouts.iter().for_each(|layout| builder.push_row_group(layout));
    let bytes = builder.finish(&ids, 1 << 30).unwrap();
    (ids, layouts, bytes)
}

#[test]
fn every_trace_is_found_in_its_row_group_and_page() {
    for count in [1, 99, 100, 257, 5000] {
        let (ids, layouts, bytes) = encoded(count);

        let index = TraceIndex::parse(bytes.into()).unwrap();

        assert_eq!(index.trace_count(), ids.len());
        assert_eq!(index.trace_ids().collect::<Vec<_>>(), ids);
        for (row, id) in ids.iter().enumerate() {
            let (group, row) = (row / 100, row % 100);
            let want = Location {
                row_group: u32::try_from(group).unwrap(),
                row: row as u64,
                page: u32::try_from(row / 30).unwrap(),
            };
            assert_eq!(index.lookup(id), Some(want));
        }
        for (number, layout) in layouts.iter().enumerate() {
            assert_eq!(index.row_group(u32::try_from(number).unwrap()).as_ref(), Some(layout));
            assert_eq!(index.row_group_bytes(u32::try_from(number).unwrap()).as_ref(), Some(&layout.bytes));
        }
        assert_eq!(index.row_group(u32::try_from(layouts.len()).unwrap()), None);
    }
}

#[test]
fn absent_traces_are_not_found() {
    let (ids, _, bytes) = encoded(3000);
    let index = TraceIndex::parse(bytes.into()).unwrap();

    for id in &ids {
        let other = TraceId::from_bytes((u128::from_be_bytes(*id.as_bytes()) ^ 1).to_be_bytes());
        assert_eq!(index.lookup(&other), None);
    }
    assert_eq!(index.lookup(&TraceId::MAX), None);
}

#[test]
fn an_empty_block_has_an_index_that_finds_nothing() {
    let bytes = TraceIndexBuilder::default().finish(&[], 12).unwrap();

    let index = TraceIndex::parse(bytes.into()).unwrap();

    assert_eq!((index.trace_count(), index.row_group_count(), index.data_size()), (0, 0, 12));
    assert_eq!(index.lookup(&TraceId::MAX), None);
}

#[test]
fn a_leaf_with_one_page_holds_every_row() {
    let layout = layouts(100).remove(0);

    assert_eq!(layout.leaves[2].page_of(99).map(|p| p.first_row), Some(0));
    assert_eq!(layout.leaves[0].page_of(29).map(|p| p.first_row), Some(0));
    assert_eq!(layout.leaves[0].page_of(30).map(|p| p.first_row), Some(30));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (_, _, bytes) = encoded(300);

    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(TraceIndex::parse(damaged.into()).is_err(), "byte {at}");
        assert!(TraceIndex::parse(bytes[..at].to_vec().into()).is_err(), "cut at {at}");
    }
}

#[test]
fn an_unknown_version_is_named() {
    let (_, _, mut bytes) = encoded(3);
    bytes[8] = 9;

    assert_eq!(TraceIndex::parse(bytes.into()).unwrap_err(), TraceIndexError::UnknownVersion { found: 9 });
}

#[test]
fn hostile_counts_with_valid_checksums_are_refused() {
    let (_, _, bytes) = encoded(300);
    // Counts of traces, row groups, leaves and layout bytes, and the first bytes of the layout.
    let layout_at = HEADER_BYTES + 4 * 3;
    for at in (24..48).chain(layout_at..layout_at + 24) {
        for value in [0xff, 0x7f, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            let front_crc = crc32fast::hash(&damaged[HEADER_BYTES..damaged.len() - 300 * ID_BYTES]);
            damaged[48..52].copy_from_slice(&front_crc.to_le_bytes());
            let header_crc = crc32fast::hash(&damaged[..60]);
            damaged[60..64].copy_from_slice(&header_crc.to_le_bytes());

            // Must not panic or allocate what the count says; a change of a page's size is not detectable.
            if let Ok(index) = TraceIndex::parse(damaged.into()) {
                let _layout = index.row_group(0);
                let _location = index.lookup(&TraceId::MAX);
            }
        }
    }
}
