//! Unpacks integers of three to six bits to bytes.

use zerocopy::{FromBytes, IntoBytes};

use crate::feature::Feature;

/// Number of values in a block: eight words of bytes.
const BLOCK: usize = 32;
/// A one in each byte of a word.
const BYTES: u32 = 0x0101_0101;
/// The lower half of each byte of a word.
const HALVES: u32 = 15 * BYTES;
/// Number of words of bytes in a block.
const WORDS: usize = BLOCK / size_of::<u32>();

/// Number of bits in the lower plane, and in the upper plane, or 0 if there is none.
const fn planes(bits: usize) -> [usize; 2] {
    if !Feature::SubByte.is_on() {
        return [4, 0];
    }
    match bits {
        3 => [2, 1],
        _ => [4, bits - 4],
    }
}

/// Number of bytes that `count` values take.
pub(super) const fn bytes(bits: usize, count: usize) -> usize {
    if !Feature::SubByte.is_on() {
        return count.div_ceil(2);
    }
    let ([lower, upper], rest) = (planes(bits), count % BLOCK);
    count / BLOCK * (BLOCK / 8 * bits) + (rest * lower).div_ceil(8) + (rest * upper).div_ceil(8)
}

/// Number of values that `bytes` bytes hold, including padding of the last block.
pub(super) const fn numbers(bits: usize, bytes: usize) -> usize {
    match (8 * bytes).checked_div(bits) {
        Some(numbers) => numbers,
        None => 0,
    }
}

/// Some bits of a byte.
#[derive(Clone, Copy)]
struct Field {
    byte: usize,
    /// The lowest bit.
    shift: usize,
    bits: usize,
}

/// The fields of value `number` in the lower plane and in the upper plane. `packed` is the number
/// of bytes.
#[inline]
fn fields(bits: usize, packed: usize, number: usize) -> Option<[Field; 2]> {
    let (block, within) = (number / BLOCK, number % BLOCK);
    let start = block * (BLOCK / 8 * bits);
    let left = packed.checked_sub(start)?.min(BLOCK / 8 * bits);
    let [lower, upper] = split(bits, left);
    let field = |start, plane: usize, bits: usize| {
        let column = within.checked_div(plane).unwrap_or(0);
        Field { byte: start + within - column * plane, shift: bits * column, bits }
    };
    let [of_lower, of_upper] = planes(bits);
    Some([field(start, lower, of_lower), field(start + lower, upper, of_upper)])
}

/// Numbers of bytes of a block's two planes, for a block of `block` bytes.
#[inline]
fn split(bits: usize, block: usize) -> [usize; 2] {
    let upper = match planes(bits)[1] {
        0 => 0,
        of_upper => (block * of_upper).div_ceil(bits.max(1)),
    };
    [block - upper, upper]
}

/// Extends the sign of a value.
#[inline]
fn signed(bits: usize, number: u8) -> i8 {
    let above = 8 - bits as u32;
    (number.wrapping_shl(above) as i8).wrapping_shr(above)
}

/// Value `number`.
#[inline(never)]
pub(super) fn get(bits: usize, packed: &[i8], number: usize) -> i8 {
    let Some([lower, upper]) = fields(bits, packed.len(), number) else { return 0 };
    let of = |field: Field| {
        let byte = packed.get(field.byte).copied().unwrap_or(0) as u8;
        byte.wrapping_shr(field.shift as u32) & ((1 << field.bits) - 1)
    };
    match upper.bits {
        0 => signed(bits, of(lower)),
        _ => signed(bits, of(lower) | of(upper) << lower.bits),
    }
}

/// Packs a value.
pub(super) fn put(bits: usize, packed: &mut [i8], number: usize, value: i8) {
    let Some([lower, upper]) = fields(bits, packed.len(), number) else { return };
    for (field, value) in [(lower, value as u8), (upper, (value >> lower.bits) as u8)] {
        if let Some(byte) = packed.get_mut(field.byte) {
            let mask = ((1u8 << field.bits) - 1).wrapping_shl(field.shift as u32);
            *byte = (*byte as u8 & !mask | value.wrapping_shl(field.shift as u32) & mask) as i8;
        }
    }
}

/// Unpacks values of `bits` bits each, [stored as in a packing](super::Packing::unpacked), to
/// bytes. Values that have no room in `bytes` are left out.
#[inline]
pub(crate) fn unpack(bits: u32, packed: &[i8], bytes: &mut [i8]) {
    if Feature::SubByte.is_on() {
        match bits {
            3 => return unpack_blocks::<3>(packed, bytes),
            5 => return unpack_blocks::<5>(packed, bytes),
            6 => return unpack_blocks::<6>(packed, bytes),
            _ => {}
        }
    }
    unpack_blocks::<4>(packed, bytes);
}

/// [`unpack`] for values of `BITS` bits. It works on words: `BITS` words of a block become eight.
fn unpack_blocks<const BITS: usize>(packed: &[i8], bytes: &mut [i8]) {
    let block = BLOCK / 8 * BITS;
    let (places, _) = bytes.as_chunks_mut::<BLOCK>();
    let whole = places.len().min(packed.len() / block);
    let places = places.get_mut(..whole).unwrap_or_default();
    let (blocks, rest) = packed.split_at_checked(whole * block).unwrap_or_default();
    let words = <[[u32; BITS]]>::ref_from_bytes(blocks.as_bytes());
    let eights = <[[u32; WORDS]]>::mut_from_bytes(places.as_mut_bytes());
    match (words, eights) {
        (Ok(words), Ok(eights)) => {
            for (words, eight) in words.iter().zip(eights) {
                if BITS == 4 {
                    let (low, high) = eight.split_at_mut(WORDS / 2);
                    for ((word, low), high) in words.iter().zip(low).zip(high) {
                        (*low, *high) =
                            (extend::<BITS>(*word & HALVES), extend::<BITS>(*word >> 4 & HALVES));
                    }
                    continue;
                }
                *eight = [
                    word::<BITS, 0>(words),
                    word::<BITS, 1>(words),
                    word::<BITS, 2>(words),
                    word::<BITS, 3>(words),
                    word::<BITS, 4>(words),
                    word::<BITS, 5>(words),
                    word::<BITS, 6>(words),
                    word::<BITS, 7>(words),
                ];
            }
        }
        // A file may lie at any address.
        _ => {
            for (block, places) in blocks.chunks(block).zip(places) {
                unpack_one::<BITS>(block, places);
            }
        }
    }
    // The last block, for whose padding there may be no room.
    let rest = rest.get(..block).unwrap_or(rest);
    unpack_one::<BITS>(rest, bytes.get_mut(whole * BLOCK..).unwrap_or_default());
}

/// Word `WORD` of a block's bytes. Output words whose distance is the number of words of a plane
/// have their fields in the same word of that plane.
#[inline(always)]
fn word<const BITS: usize, const WORD: usize>(words: &[u32; BITS]) -> u32 {
    let [lower, upper] = const { planes(BITS) };
    let mask = BYTES * ((1 << lower) - 1);
    let mut number = words[const { WORD % planes(BITS)[0] }] >> (lower * (WORD / lower)) & mask;
    if upper > 0 {
        let of_upper = const {
            match planes(BITS) {
                [_, 0] => 0,
                [lower, upper] => lower + WORD % upper,
            }
        };
        // Shifted directly to its final position.
        let (from, to) = (upper * WORD.checked_div(upper).unwrap_or(0), lower);
        let moved = match from > to {
            true => words[of_upper] >> (from - to),
            false => words[of_upper] << (to - from),
        };
        number |= moved & ((BYTES * ((1 << upper) - 1)) << lower);
    }
    extend::<BITS>(number)
}

/// Extends the sign of each byte. The upper bits are first set to those of 128, so that the
/// subtraction borrows nothing from the next byte.
#[inline(always)]
const fn extend<const BITS: usize>(numbers: u32) -> u32 {
    let sign = BYTES << (BITS - 1);
    ((numbers ^ (BYTES << 7 | sign)) - sign) ^ BYTES << 7
}

/// Unpacks a block, which may be a last one with fewer values.
#[inline(never)]
fn unpack_one<const BITS: usize>(block: &[i8], places: &mut [i8]) {
    let [of_lower, of_upper] = const { planes(BITS) };
    let [lower, _] = split(BITS, block.len());
    let (lower, upper) = block.split_at_checked(lower).unwrap_or_default();
    let count = places.len().min(lower.len() * (8 / of_lower));
    let Some(places) = places.get_mut(..count) else { return };
    let mut put = |plane: &[i8], of_plane: usize, above: usize| {
        for (number, byte) in plane.iter().enumerate() {
            let (mut at, mut shift) = (number, 0);
            while shift < 8 {
                let field = (*byte as u8 >> shift) & ((1 << of_plane) - 1);
                if let Some(place) = places.get_mut(at) {
                    let lower = if above == 0 { 0 } else { *place };
                    *place = lower | (field << above) as i8;
                }
                (at, shift) = (at + plane.len(), shift + of_plane);
            }
        }
    };
    put(lower, of_lower, 0);
    if of_upper > 0 {
        put(upper, of_upper, of_lower);
    }
    places.iter_mut().for_each(|place| *place = signed(BITS, *place as u8));
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::format::Packing;

    const WIDTHS: [usize; 4] = [3, 4, 5, 6];

    #[test]
    fn numbers_are_unpacked_wherever_they_lie() {
        for bits in WIDTHS.into_iter().filter(|&bits| bits == 4 || Feature::SubByte.is_on()) {
            for count in 0..200 {
                let number = |i: usize| ((i * 7 + i / 5) as i8) << (8 - bits) >> (8 - bits);
                let numbers: Vec<i8> = (0..count).map(number).collect();
                let mut packed = vec![0; bytes(bits, count)];
                assert!(packed.len() <= (count * bits).div_ceil(8) + 1, "{count} of {bits} bits");
                for (i, &value) in numbers.iter().enumerate() {
                    put(bits, &mut packed, i, value);
                }
                for (i, &value) in numbers.iter().enumerate() {
                    assert_eq!(get(bits, &packed, i), value, "number {i} of {count}, {bits} bits");
                }
                // At aligned and unaligned addresses.
                for offset in 0..5 {
                    let mut shifted = vec![0; offset];
                    shifted.extend(&packed);
                    let mut room = vec![99; count];
                    unpack(bits as u32, &shifted[offset..], &mut room);
                    assert_eq!(room, numbers, "{count} of {bits} bits at {offset}");
                }
            }
        }
    }

    /// The drawing in the documentation of [`Packing::unpacked`](crate::format::Packing::unpacked).
    #[test]
    fn numbers_lie_where_the_documentation_says() {
        // Sixteen values in the halves of the bytes, then the upper bits.
        let mut packed = [0; 20];
        if Feature::SubByte.is_on() {
            put(5, &mut packed, 0, 1);
            put(5, &mut packed, 16, 2);
            put(5, &mut packed, 17, -16);
            put(5, &mut packed, 31, -1);
            let mut expected = [0u8; 20];
            (expected[0], expected[15]) = (0x21, 0xf0);
            (expected[17], expected[19]) = (1 << 4, 1 << 7);
            assert_eq!(packed.map(|byte| byte as u8), expected);
        }
        let mut packed = [0; 3];
        put(4, &mut packed, 0, 1);
        put(4, &mut packed, 3, 2);
        put(4, &mut packed, 5, -1);
        assert_eq!(packed.map(|byte| byte as u8), [0x21, 0, 0xf0]);
    }

    /// This happens in a file whose record gives fewer bytes than its channels take.
    #[test]
    fn a_weight_without_room_is_not_put() {
        let mut packed = [0; 8];
        Packing::Ohwi4.put(&mut packed, 500, 0, 0, [1, 64], 7);
        assert_eq!(packed, [0; 8]);
        Packing::Ohwi4.put(&mut packed, 0, 0, 0, [1, 64], 7);
        assert_eq!(packed[0], 7);
    }
}
