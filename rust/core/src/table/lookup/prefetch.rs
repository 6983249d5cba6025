//! Prefetches memory before it is needed.

/// Hints the processor to fetch the cache line at an address. The address need not be valid.
#[inline]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: every x86-64 processor has the instruction. It accepts any address and has no visible effect.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    #[allow(unsafe_code)]
    // SAFETY: every aarch64 processor has the instruction. It accepts any address and has no visible effect.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{}]",
            in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
    let _ = address;
}

/// Prefetches the data at the handle of a rule, unless the handle is 0.
#[inline]
pub(crate) fn prefetch_handle(handle: usize) {
    if handle != 0 {
        prefetch(std::ptr::without_provenance::<u8>(handle));
    }
}
