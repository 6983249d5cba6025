//! The kernels: 64 bytes at a time into masks, by the widest instructions that the processor has.
//!
//! A [`Window`] hands out a body's tokens: the offsets outside strings where an operator or a scalar starts,
//! and both quotes of each string. What is inside strings costs mask work alone; what is wrong inside them
//! ends the tokens. Everything that depends on the instruction set is [`Classes`] of one block, and all the
//! unsafe code of the scanner is below here: calls into code for instructions that were detected, loads of
//! whole vectors, and the one conversion of a body that was checked piece by piece.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod digits;
mod masks;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(test)]
mod tests;
mod window;

use std::sync::OnceLock;

pub(super) use digits::{SPAN, others};
use masks::Carry;
pub(super) use window::Window;

/// Bytes in a block: one for each bit of a mask.
const BLOCK: usize = 64;

/// The environment variable that forces a kernel.
const VARIABLE: &str = "WAYPOST_SIMD";

/// Which instructions the scanner uses.
///
/// All kernels give the same results. The best one that the processor has is found out once, at run time; the
/// environment variable `WAYPOST_SIMD`, read at the same moment, forces one by its name (for tests, or to
/// rule a kernel out). A name that is unknown, or stands for instructions which the processor does not have,
/// is reported on standard error, and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// Plain Rust, for any processor.
    Scalar,
    /// x86-64 without anything detected.
    Sse2,
    /// x86-64 with AVX2 and carry-less multiplication.
    Avx2,
}

/// What a kernel did.
#[derive(Clone, Copy, Debug)]
struct Filled {
    /// How many blocks it looked at; no token or fault is in a block behind them.
    blocks: usize,
    /// How many tokens it wrote.
    tokens: usize,
    /// Whether all those blocks are ASCII.
    ascii: bool,
}

impl Kernel {
    const ALL: [Self; 3] = [Self::Avx2, Self::Sse2, Self::Scalar];

    /// The name by which `WAYPOST_SIMD` knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Sse2 => "sse2",
            Self::Avx2 => "avx2",
        }
    }

    /// Those that this processor can run, the best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.detected())
    }

    /// The one that [`scan`](super::scan) uses.
    #[must_use]
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Kernel> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let best = Self::available().next().unwrap_or(Self::Scalar);
            let Some(name) = std::env::var_os(VARIABLE) else { return best };
            Self::available().find(|kernel| name == kernel.name()).unwrap_or_else(|| {
                let names: Vec<_> = Self::available().map(Self::name).collect();
                eprintln!("{VARIABLE}={name:?} is no kernel of this processor ({}): using {}", names.join(", "), best.name());
                best
            })
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn detected(self) -> bool {
        match self {
            Self::Scalar | Self::Sse2 => true,
            Self::Avx2 => avx2::detected(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detected(self) -> bool {
        self == Self::Scalar
    }

    /// Writes the tokens of some blocks from `from` on, `carry` being what is left of those before.
    #[cfg(target_arch = "x86_64")]
    fn fill(self, body: &[u8], from: usize, carry: &mut Carry, tokens: &mut [u32]) -> Filled {
        match self {
            // SAFETY: `detected` said that the processor has what this function is compiled for: a window is
            // made for no kernel that is not available.
            Self::Avx2 => unsafe { avx2::fill(body, from, carry, tokens) },
            // SAFETY: every x86-64 processor has SSE2.
            Self::Sse2 => unsafe { sse2::fill(body, from, carry, tokens) },
            Self::Scalar => scalar::fill(body, from, carry, tokens),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn fill(self, body: &[u8], from: usize, carry: &mut Carry, tokens: &mut [u32]) -> Filled {
        scalar::fill(body, from, carry, tokens)
    }
}
