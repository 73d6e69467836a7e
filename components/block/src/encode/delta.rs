//! DELTA_BINARY_PACKED for integers and DELTA_LENGTH_BYTE_ARRAY for byte strings.
//!
//! Blocks of 128 values in four miniblocks of 32, as every writer has them: header (block size, miniblocks, count, first
//! value), then per block the smallest delta, four bit widths and the packed rests. All arithmetic wraps in the width
//! of the column's type.

use super::bits::{pack, put_varint};

const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;
const MINIBLOCKS: usize = BLOCK / MINIBLOCK;

/// Encodes 64-bit integers.
pub(super) fn binary_packed_64(out: &mut Vec<u8>, values: &[u64]) {
    let zigzag = |v: u64| (v << 1) ^ (v.cast_signed() >> 63).cast_unsigned();
    put_header(out, values.len(), zigzag(values.first().copied().unwrap_or(0)));
    let mut deltas = [0u64; BLOCK];
    for block in blocks(values) {
        let count = block.len() - 1;
        for (delta, pair) in deltas.iter_mut().zip(block.windows(2)) {
            *delta = pair[1].wrapping_sub(pair[0]);
        }
        let deltas = &mut deltas[..count];
        let min = deltas.iter().map(|d| d.cast_signed()).min().unwrap_or(0).cast_unsigned();
        deltas.iter_mut().for_each(|d| *d = d.wrapping_sub(min));
        put_varint(out, zigzag(min));
        put_miniblocks(out, deltas);
    }
}

/// Encodes 32-bit integers.
pub(super) fn binary_packed_32(out: &mut Vec<u8>, values: &[u32]) {
    let zigzag = |v: u32| u64::from((v << 1) ^ (v.cast_signed() >> 31).cast_unsigned());
    put_header(out, values.len(), zigzag(values.first().copied().unwrap_or(0)));
    let mut deltas = [0u64; BLOCK];
    for block in blocks(values) {
        let count = block.len() - 1;
        let of = |pair: &[u32]| pair[1].wrapping_sub(pair[0]);
        let min = block.windows(2).map(|pair| of(pair).cast_signed()).min().unwrap_or(0).cast_unsigned();
        for (delta, pair) in deltas.iter_mut().zip(block.windows(2)) {
            *delta = u64::from(of(pair).wrapping_sub(min));
        }
        put_varint(out, zigzag(min));
        put_miniblocks(out, &deltas[..count]);
    }
}

/// The lengths of byte strings; their bytes follow, one after the other.
pub(super) fn lengths(out: &mut Vec<u8>, lengths: &[u32]) {
    binary_packed_32(out, lengths);
}

/// Each block with the value before it.
fn blocks<T>(values: &[T]) -> impl Iterator<Item = &[T]> {
    let starts = (0..values.len().saturating_sub(1)).step_by(BLOCK);
    starts.map(|start| &values[start..values.len().min(start + BLOCK + 1)])
}

fn put_header(out: &mut Vec<u8>, count: usize, first: u64) {
    put_varint(out, BLOCK as u64);
    put_varint(out, MINIBLOCKS as u64);
    put_varint(out, count as u64);
    put_varint(out, first);
}

fn put_miniblocks(out: &mut Vec<u8>, deltas: &[u64]) {
    let widths_at = out.len();
    out.extend_from_slice(&[0; MINIBLOCKS]);
    for (index, miniblock) in deltas.chunks(MINIBLOCK).enumerate() {
        let all = miniblock.iter().fold(0, |all, d| all | d);
        let width = 64 - all.leading_zeros();
        out[widths_at + index] = width.to_le_bytes()[0];
        if width > 0 {
            let start = out.len();
            pack(out, miniblock.iter().copied(), width);
            out.resize(start + width as usize * MINIBLOCK / 8, 0);
        }
    }
}

#[cfg(test)]
mod tests;
