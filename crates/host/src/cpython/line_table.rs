//! The line of an instruction, from the table of a code object (`co_linetable`). Its format is described in CPython's
//! `Objects/locations.md` (3.11 on) and `Objects/lnotab_notes.txt` (3.10). It must never know where the bytes come from.
#![forbid(unsafe_code)]

/// The line of the instruction `offset` bytes behind the first one, in a code object that begins in line `first`; that
/// one where the table has none. The table may hold anything.
pub(super) fn line_at(table: &[u8], first: i32, offset: isize) -> i32 {
    if offset < 0 {
        return first;
    }
    let found =
        if cfg!(Py_3_11) { locations(table, first, offset) } else { deltas(table, first, offset) };
    found.unwrap_or(first)
}

/// From 3.11 on: an entry is a byte with its kind and how many instructions it is for, and bytes without the highest bit.
fn locations(table: &[u8], first: i32, offset: isize) -> Option<i32> {
    const NO_LINE: u8 = 15;
    let (mut line, mut end, mut at) = (first, 0_isize, 0);
    while let Some(head) = table.get(at) {
        at += 1;
        let kind = (head >> 3) & 15;
        line = line.wrapping_add(match kind {
            0..=9 | NO_LINE => 0,
            10..=12 => i32::from(kind) - 10,
            _ => signed(table.get(at..).unwrap_or_default()),
        });
        end += (isize::from(head & 7) + 1) * 2;
        if offset < end {
            return (kind != NO_LINE).then_some(line);
        }
        while table.get(at).is_some_and(|byte| byte & 0x80 == 0) {
            at += 1;
        }
    }
    None
}

/// A number in pieces of six bits, the lowest first; the lowest bit of all is the sign.
fn signed(bytes: &[u8]) -> i32 {
    let (mut number, mut shift) = (0_u32, 0);
    for byte in bytes.iter().take(6) {
        number |= u32::from(byte & 0x3f).wrapping_shl(shift);
        shift += 6;
        if byte & 0x40 == 0 {
            break;
        }
    }
    let size = i32::try_from(number >> 1).unwrap_or(0);
    if number & 1 == 0 { size } else { -size }
}

/// 3.10: pairs of how many bytes of instructions follow, and of the difference to the line before.
fn deltas(table: &[u8], first: i32, offset: isize) -> Option<i32> {
    const NO_LINE: i8 = -128;
    let (mut line, mut end) = (first, 0_isize);
    for [length, difference] in table.as_chunks::<2>().0 {
        end += isize::from(*length);
        let difference = difference.cast_signed();
        if difference != NO_LINE {
            line = line.wrapping_add(difference.into());
        }
        if offset < end {
            return (difference != NO_LINE).then_some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter_map(|it| it.to_digit(16)).collect();
        digits.as_chunks::<2>().0.iter().map(|[high, low]| (high * 16 + low) as u8).collect()
    }

    // Both tables are those of a function with assignments, an exception handler and a loop in lines 10 to 19.

    #[test]
    fn lines_are_those_that_python_3_11_says() {
        let table = bytes(
            "8000d808098041f00204050dd80d0ed80d0ef103010e0f88018801f8e50b15f00001050df00001050df00001050d\
             d8080c8804f00301050df8f8f8e50d12903189588c58f000010514f0000105148801dd080d88619011890b8c0b880b\
             880bd80b0c8048",
        );
        let expected = [
            (0, Some(10)),
            (2, Some(11)),
            (8, Some(13)),
            (10, Some(14)),
            (18, Some(13)),
            (20, None),
            (38, Some(15)),
            (42, Some(16)),
            (44, Some(15)),
            (50, None),
            (85, Some(17)),
            (119, Some(18)),
            (122, Some(19)),
            (124, None),
        ];
        for (offset, line) in expected {
            assert_eq!(locations(&table, 10, offset), line, "{offset}");
        }
        // An entry whose number has two bytes, and is negative.
        assert_eq!(locations(&[0xe9, 0x43, 0x01], 50, 3), Some(50 - 33));
    }

    #[test]
    fn lines_are_those_that_python_3_10_says() {
        let table = bytes("040102010201020108ff0c02040102ff0c020c010401");
        let expected =
            [(0, 11), (5, 12), (8, 14), (10, 13), (29, 15), (33, 16), (34, 15), (63, 19)];
        for (offset, line) in expected {
            assert_eq!(deltas(&table, 10, offset), Some(line), "{offset}");
        }
        assert_eq!(deltas(&table, 10, 64), None);
        assert_eq!(deltas(&[4, 1, 2, 0x80, 6, 0xff], 10, 4), None);
        assert_eq!((line_at(&[], 7, 3), line_at(&table, 7, -2)), (7, 7));
    }

    #[test]
    fn arbitrary_tables_cause_no_panic() {
        let mut seed = 1_u32;
        for _ in 0..2000 {
            let table: Vec<u8> = (0..40)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as u8
                })
                .collect();
            for (first, offset) in [(1, 60), (i32::MAX, isize::MAX), (i32::MIN, 0)] {
                let _ = (locations(&table, first, offset), deltas(&table, first, offset));
            }
        }
    }
}
