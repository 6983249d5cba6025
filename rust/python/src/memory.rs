//! Memory that compiling needed, and nobody needs any more.

/// Below so many rules it is not worth a system call.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MANY: usize = 4096;

/// Where so many rules were compiled: gives freed memory back to the system. The C library would keep about half as much
/// again as the rules take, for allocations that do not come.
#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu")),
    allow(unused_variables, clippy::missing_const_for_fn)
)]
pub(crate) fn give_back(rules: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if rules >= MANY {
        // SAFETY: it may be called at any time, by any thread.
        #[allow(unsafe_code)] // There is no other way to say it.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
