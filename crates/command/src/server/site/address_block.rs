//! Blocks of addresses in the notation of CIDR, and all addresses outside of some. No option and no file is known here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of one family whose first `length` bits are those of `bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressBlock {
    family: Family,
    /// The first bit is the highest one, in both families.
    bits: u128,
    length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// Bits of an address.
    fn width(self) -> u32 {
        match self {
            Self::V4 => u32::BITS,
            Self::V6 => u128::BITS,
        }
    }
}

impl AddressBlock {
    /// Reads an address, or a block such as `10.1.0.0/16`; `None` where the text is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().ok()?)),
            None => (text, None),
        };
        let (family, bits) = match address.parse().ok()? {
            IpAddr::V4(address) => (Family::V4, u128::from(address.to_bits()) << 96),
            IpAddr::V6(address) => (Family::V6, address.to_bits()),
        };
        let length = length.unwrap_or(family.width());
        let block = Self { family, bits: bits & mask(length), length };
        (length <= family.width()).then_some(block)
    }

    /// The fewest blocks that have all addresses of both families but those of `blocks`. None of them has a length of 0,
    /// which not every program takes.
    pub(crate) fn outside_of(blocks: &[Self]) -> Vec<Self> {
        let mut found = Vec::new();
        for family in [Family::V4, Family::V6] {
            for half in (Self { family, bits: 0, length: 0 }).halves() {
                half.add_outside_of(blocks, &mut found);
            }
        }
        found
    }

    fn add_outside_of(self, blocks: &[Self], found: &mut Vec<Self>) {
        if blocks.iter().any(|block| block.contains(self)) {
            return;
        }
        if !blocks.iter().any(|&block| self.contains(block)) {
            return found.push(self);
        }
        for half in self.halves() {
            half.add_outside_of(blocks, found);
        }
    }

    fn contains(self, other: Self) -> bool {
        self.family == other.family
            && self.length <= other.length
            && self.bits == other.bits & mask(self.length)
    }

    /// Of a block that is no single address.
    fn halves(self) -> [Self; 2] {
        let length = self.length + 1;
        let upper = 1_u128.checked_shl(u128::BITS - length).unwrap_or(0);
        [self.bits, self.bits | upper].map(|bits| Self { bits, length, ..self })
    }
}

/// The first `length` bits.
fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(u128::BITS.saturating_sub(length)).unwrap_or(0)
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match self.family {
            // The lower bits are none of an address of this family.
            Family::V4 => {
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(self.bits >> 96).unwrap_or(0)))
            }
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(self.bits)),
        };
        write!(f, "{address}/{}", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(texts: &[&str]) -> Vec<AddressBlock> {
        texts.iter().map(|text| AddressBlock::parse(text).unwrap()).collect()
    }

    fn outside(texts: &[&str]) -> Vec<String> {
        AddressBlock::outside_of(&blocks(texts)).iter().map(AddressBlock::to_string).collect()
    }

    #[test]
    fn an_address_or_a_block_is_read() {
        for (text, read) in [
            ("10.1.0.5", Some("10.1.0.5/32")),
            ("10.1.2.3/16", Some("10.1.0.0/16")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("fd00::5/8", Some("fd00::/8")),
            ("::1", Some("::1/128")),
            ("10.1.0.0/33", None),
            ("::/129", None),
            ("10.1.0.0/", None),
            ("10.1", None),
            ("proxy.example", None),
            ("", None),
        ] {
            let found = AddressBlock::parse(text).map(|block| block.to_string());
            assert_eq!(found.as_deref(), read, "{text}");
        }
    }

    #[test]
    fn every_address_is_in_one_of_the_blocks_or_in_one_of_those_outside() {
        assert_eq!(outside(&[]), ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"]);
        assert_eq!(outside(&["0.0.0.0/0", "::/0"]), [""; 0]);
        assert_eq!(outside(&["64.0.0.0/2", "::/0"]), ["0.0.0.0/2", "128.0.0.0/1"]);
        // A block in another one adds nothing.
        assert_eq!(outside(&["64.0.0.0/2", "65.0.0.0/8", "::/0"]).len(), 2);
        let trusted = blocks(&["10.1.0.5", "10.2.0.0/16", "fd00::/8"]);
        let others = AddressBlock::outside_of(&trusted);
        for (address, is_trusted) in [
            ("10.1.0.5", true),
            ("10.1.0.4", false),
            ("10.1.0.6", false),
            ("10.2.255.255", true),
            ("10.3.0.0", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("fdff::1", true),
            ("fe00::1", false),
            ("::1", false),
        ] {
            let address = AddressBlock::parse(address).unwrap();
            let in_blocks =
                |all: &[AddressBlock]| all.iter().filter(|block| block.contains(address)).count();
            assert_eq!(in_blocks(&trusted), usize::from(is_trusted), "{address}");
            assert_eq!(in_blocks(&others), usize::from(!is_trusted), "{address}");
        }
    }
}
