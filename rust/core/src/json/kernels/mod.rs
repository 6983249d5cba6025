//! The kernels: from 64 bytes at a time to tokens, by the widest instructions that the processor has.
//!
//! Tokens are the offsets outside strings where an operator or a scalar starts, and both quotes of each
//! string. A kernel turns a block into masks, a bit for each byte (`avx512`, `avx2`, `sse2`, `neon`, `scalar`); arithmetic
//! on masks, the same for all, makes of those the mask of the tokens (`masks`), which a kernel lists ([`Tokens`]); a
//! [`Window`] asks for them and checks on the way that the body is UTF-8 (`window`). What is inside a string costs mask work alone, and what is wrong
//! there ends the tokens. Of a body that may be of a known form the quotes of its strings are listed and nothing else, with less
//! arithmetic (`masks::quotes`).
//!
//! `neon` is held against the others by an emulator (`make test-aarch64`): that it is right is tested, that it is fast
//! has not been measured. Other processors have `scalar`, which compilers turn into vector instructions in part.
//!
//! All unsafe code of the scanner is below here: calls into functions that are compiled for instructions which
//! have been detected, loads and stores of whole vectors, and the one conversion of a body that was checked piece by
//! piece.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod digits;
mod masks;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(test)]
mod tests;
mod tokens;
mod window;

use std::ffi::OsStr;
use std::sync::OnceLock;

pub(super) use digits::{SPAN, others};
use masks::Carry;
pub(super) use tokens::{Ahead, Before, EARLY, TokenBuffer, Tokens};
pub(super) use window::Window;

/// Bytes in a block: one for each bit of a mask.
const BLOCK: usize = 64;

/// The environment variable that forces a kernel.
const VARIABLE: &str = "WAYPOST_SIMD";

/// Which instructions the scanner uses.
///
/// All kernels give the same results. The best one that the processor has is found out once, at run time. The
/// environment variable `WAYPOST_SIMD`, read at the same moment, forces one by its name: for tests, or to rule
/// a kernel out. A name that stands for none that the processor has is reported on standard error, once, and
/// the best one is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// Plain Rust, for any processor: `scalar`.
    Scalar,
    /// x86-64 without anything that has to be found out: `sse2`.
    Sse2,
    /// x86-64 with AVX2, BMI and carry-less multiplication: `avx2`.
    Avx2,
    /// x86-64 with all that and AVX-512 for bytes (F, BW, VL, VBMI, VBMI2): `avx512`.
    Avx512,
    /// aarch64 without anything that has to be found out: `neon`.
    Neon,
}

/// A kernel that this processor has been found to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Available(Kernel);

/// What a kernel lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Tokens,
    /// The quotes that open or close strings, but their bytes, which are known: far less work. What is wrong outside strings is
    /// not seen; backslashes there are taken for escapes.
    Quotes,
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
    const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Sse2, Self::Neon, Self::Scalar];

    /// The name by which `WAYPOST_SIMD` knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Sse2 => "sse2",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// Those that this processor has, the best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.detected())
    }

    /// The one that [`scan`](super::scan) uses.
    #[must_use]
    pub fn chosen() -> Self {
        Available::chosen().0
    }

    #[cfg(target_arch = "x86_64")]
    fn detected(self) -> bool {
        match self {
            Self::Scalar | Self::Sse2 => true,
            Self::Avx2 => avx2::detected(),
            Self::Avx512 => avx512::detected(),
            Self::Neon => false,
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn detected(self) -> bool {
        matches!(self, Self::Scalar | Self::Neon)
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn detected(self) -> bool {
        self == Self::Scalar
    }
}

impl Available {
    /// The one that was found out to be best, or was forced.
    #[inline]
    pub(super) fn chosen() -> Self {
        static CHOSEN: OnceLock<Available> = OnceLock::new();
        *CHOSEN.get_or_init(|| match std::env::var_os(VARIABLE) {
            None => Self::best(),
            Some(name) => Self::named(&name).unwrap_or_else(|| {
                let names: Vec<_> = Kernel::available().map(Kernel::name).collect();
                let best = Self::best();
                eprintln!(
                    "{VARIABLE}={} is no kernel of this processor, which has {}: using {}",
                    name.display(),
                    names.join(", "),
                    best.0.name(),
                );
                best
            }),
        })
    }

    /// `kernel`, or the plainest one where the processor does not have it.
    pub(super) fn or_scalar(kernel: Kernel) -> Self {
        Self(if kernel.detected() { kernel } else { Kernel::Scalar })
    }

    fn best() -> Self {
        Self(Kernel::available().next().unwrap_or(Kernel::Scalar))
    }

    fn named(name: &OsStr) -> Option<Self> {
        Kernel::available().find(|kernel| name == kernel.name()).map(Self)
    }

    /// Writes what is to be listed of some blocks from `from` on behind what `tokens` has, `carry` being what is left
    /// of the blocks before.
    fn fill(
        self,
        look: Look,
        body: &[u8],
        from: usize,
        carry: &mut Carry,
        tokens: &mut Tokens<'_>,
    ) -> Filled {
        match self.0 {
            // SAFETY: the processor has been found to have what this function is compiled for: an `Available`
            // is made in no other way.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { avx512::fill(look, body, from, carry, tokens) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { avx2::fill(look, body, from, carry, tokens) },
            // SAFETY: every x86-64 processor has SSE2.
            #[cfg(target_arch = "x86_64")]
            Kernel::Sse2 => unsafe { sse2::fill(look, body, from, carry, tokens) },
            // SAFETY: every aarch64 processor on which there is a standard library has NEON.
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon => unsafe { neon::fill(look, body, from, carry, tokens) },
            // An `Available` is none of another processor's.
            _ => scalar::fill(look, body, from, carry, tokens),
        }
    }
}
