//! Memory of many rules: returned to the system, and freed where no one waits for it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The least number of rules for which this is worth a system call.
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

/// Frees the last part of something that many rules belong to. Freeing 100,000 rules takes a tenth of a second, for which no
/// event loop should stand still; so a thread does it, as soon as nothing else refers to it.
pub(crate) fn free_aside<T: Send + Sync + 'static>(last: Arc<T>, rules: usize) {
    const STEP: Duration = Duration::from_millis(5);
    const MOST: usize = 2_000;
    if rules < MANY {
        return;
    }
    let free = move || {
        // What holds it longer frees it itself.
        for _ in 0..MOST {
            if Arc::strong_count(&last) == 1 {
                break;
            }
            thread::sleep(STEP);
        }
        drop(last);
        give_back(MANY);
    };
    // Without a thread, it is freed here.
    let _ = thread::Builder::new().name("waypost-free".to_owned()).spawn(free);
}
