//! Returns memory that only compiling needed to the system.

/// The least number of rules for which this is worth a system call.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MANY: usize = 4096;

/// Returns freed memory to the system after many rules were compiled. Otherwise the C library would keep it for future
/// allocations, about half as much as the rules take.
#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu")),
    allow(unused_variables, clippy::missing_const_for_fn)
)]
pub(crate) fn give_back(rules: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if rules >= MANY {
        // SAFETY: any thread may call this function at any time.
        #[allow(unsafe_code)] // The standard library has no equivalent.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
