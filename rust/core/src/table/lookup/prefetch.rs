//! Asking for memory before it is needed.

/// Has the processor fetch the line at an address, while it goes on. No more than a hint: nothing has to be there.
#[inline]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: every processor of this kind has the instruction, which changes nothing that a program can see and takes any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    #[allow(unsafe_code)]
    // SAFETY: the same.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{}]",
            in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
    let _ = address;
}

/// The same for the address that is the handle of a rule, if it has one.
#[inline]
pub(crate) fn prefetch_handle(handle: usize) {
    if handle != 0 {
        prefetch(std::ptr::without_provenance::<u8>(handle));
    }
}
