//! The kernels: they turn 64 bytes at a time into tokens, with the widest instructions that the processor has.
//!
//! A token is the offset of an operator or the start of a scalar outside strings, or of a quote of a string.
//!
//! 1. A kernel (`avx512`, `avx2`, `sse2`, `neon`, `scalar`) turns a block into masks with a bit for each byte.
//! 2. Arithmetic on masks, the same for all kernels, computes the mask of the tokens (`masks`).
//! 3. The kernel lists the tokens ([`Tokens`]).
//! 4. A [`Window`] requests tokens, and checks that the body is UTF-8 (`window`).
//!
//! The content of strings costs only mask arithmetic. A fault in a string ends the tokens. If a body may have a known form,
//! only the quotes of its strings are listed, which takes less arithmetic (`masks::quotes`).
//!
//! An emulator tests `neon` against the other kernels (`make test-aarch64`); its speed has not been measured. Other processors
//! use `scalar`, which compilers partly turn into vector instructions.
//!
//! All unsafe code of the scanner is in this module: calls to functions compiled for detected instructions, loads and stores
//! of whole vectors, and the conversion to text of a body that was checked piece by piece.

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

/// Number of bytes in a block, one for each bit of a mask.
const BLOCK: usize = 64;

/// The environment variable that forces a kernel.
const VARIABLE: &str = "WAYPOST_SIMD";

/// The instructions that the scanner uses.
///
/// All kernels give the same results. The best one for the processor is chosen once, at run time. The environment variable
/// `WAYPOST_SIMD`, read at the same time, forces a kernel by name, for tests or to avoid a kernel. A name that this processor
/// does not support is reported once on standard error, and the best kernel is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// Plain Rust, for any processor: `scalar`.
    Scalar,
    /// Any x86-64: `sse2`.
    Sse2,
    /// x86-64 with AVX2, BMI and carry-less multiplication: `avx2`.
    Avx2,
    /// x86-64 with all of `avx2` and AVX-512 for bytes (F, BW, VL, VBMI, VBMI2): `avx512`.
    Avx512,
    /// Any aarch64: `neon`.
    Neon,
}

/// A kernel that this processor supports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Available(Kernel);

/// What a kernel lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Tokens,
    /// Only the offsets of quotes that open or close strings, which is far less work. Faults outside strings are not found, and
    /// backslashes there are treated as escapes.
    Quotes,
}

/// The result of a kernel's call.
#[derive(Clone, Copy, Debug)]
struct Filled {
    /// Number of blocks read. No listed token or fault is in a later block.
    blocks: usize,
    /// Number of tokens written.
    tokens: usize,
    /// Whether all these blocks are ASCII.
    ascii: bool,
}

impl Kernel {
    const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Sse2, Self::Neon, Self::Scalar];

    /// The kernel's name in `WAYPOST_SIMD`.
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

    /// The kernels that this processor supports, the best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.detected())
    }

    /// The kernel that [`scan`](super::scan) uses.
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
    /// The best kernel, or the forced one.
    #[inline]
    pub(super) fn chosen() -> Self {
        static CHOSEN: OnceLock<Available> = OnceLock::new();
        *CHOSEN.get_or_init(|| match std::env::var_os(VARIABLE) {
            None => Self::best(),
            Some(name) => Self::named(&name).unwrap_or_else(|| {
                let names: Vec<_> = Kernel::available().map(Kernel::name).collect();
                let best = Self::best();
                eprintln!(
                    "{VARIABLE}={} is not a kernel of this processor, which has {}: using {}",
                    name.display(),
                    names.join(", "),
                    best.0.name(),
                );
                best
            }),
        })
    }

    /// `kernel`, or the scalar one if the processor does not support it.
    pub(super) fn or_scalar(kernel: Kernel) -> Self {
        Self(if kernel.detected() { kernel } else { Kernel::Scalar })
    }

    fn best() -> Self {
        Self(Kernel::available().next().unwrap_or(Kernel::Scalar))
    }

    fn named(name: &OsStr) -> Option<Self> {
        Kernel::available().find(|kernel| name == kernel.name()).map(Self)
    }

    /// Lists tokens or quotes of some blocks from `from` on, after those in `tokens`. `carry` is the state after the previous
    /// blocks.
    fn fill(
        self,
        look: Look,
        body: &[u8],
        from: usize,
        carry: &mut Carry,
        tokens: &mut Tokens<'_>,
    ) -> Filled {
        match self.0 {
            // SAFETY: an `Available` is only made for a kernel whose instructions the processor supports.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { avx512::fill(look, body, from, carry, tokens) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { avx2::fill(look, body, from, carry, tokens) },
            // SAFETY: every x86-64 processor has SSE2.
            #[cfg(target_arch = "x86_64")]
            Kernel::Sse2 => unsafe { sse2::fill(look, body, from, carry, tokens) },
            // SAFETY: every aarch64 processor with a standard library has NEON.
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon => unsafe { neon::fill(look, body, from, carry, tokens) },
            // All other kernels are for other processors.
            _ => scalar::fill(look, body, from, carry, tokens),
        }
    }
}
