//! The memory limit: a counting allocator, and a pool that refuses when either its own reservations or the
//! allocator's count pass the limit.
//!
//! Freed pages go back to the operating system when `release_free_pages` is called.
//!
//! DataFusion's pool alone is advisory: arrays that operators do not account for are seen by the allocator.
//!
//! Invariant: with the allocator installed, `allocated_bytes` is what live allocations asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};

use crate::error::{out_of_memory, raise};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The system allocator with a count of live bytes. The binary installs it as `#[global_allocator]`.
#[derive(Debug)]
pub struct CountingAllocator;

/// Bytes that live allocations asked for; 0 when the allocator is not installed.
#[must_use]
pub fn allocated_bytes() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

#[allow(unsafe_code)]
// SAFETY: every call is handed on unchanged to the system allocator; the count is not used for memory safety.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds `alloc`'s contract, which is the system allocator's.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller passes a pointer from this allocator, so from the system's, with its layout.
        unsafe { System.dealloc(pointer, layout) };
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`; the new size is the caller's.
        let grown = unsafe { System.realloc(pointer, layout, new_size) };
        if !grown.is_null() {
            if new_size >= layout.size() {
                ALLOCATED.fetch_add(new_size - layout.size(), Ordering::Relaxed);
            } else {
                ALLOCATED.fetch_sub(layout.size() - new_size, Ordering::Relaxed);
            }
        }
        grown
    }
}

/// Tells the allocator to give large blocks back at once. To be called first in `main`, before there are threads.
///
/// Left alone, glibc raises both limits to 32 MB and 64 MB with the blocks it sees freed, and each of its arenas then
/// keeps as much at its end, which `release_free_pages` does not reach.
pub fn limit_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: plain numbers for the allocator's own parameters.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 << 20);
    }
}

/// Gives pages that hold no live allocation back to the operating system.
///
/// glibc keeps what was freed for later allocations; behind work that frees hundreds of megabytes at once that is
/// memory nobody uses. Takes some ten milliseconds per gigabyte freed, holding one arena at a time.
pub fn release_free_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: the call has no precondition; it touches only chunks that the allocator itself holds as free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// DataFusion's pool under the process's limit.
#[derive(Debug)]
pub struct LimitedPool {
    limit: Option<usize>,
    reserved: AtomicUsize,
}

impl LimitedPool {
    /// A pool that refuses beyond a number of bytes.
    #[must_use]
    pub const fn new(limit: Option<usize>) -> Self {
        Self { limit, reserved: AtomicUsize::new(0) }
    }

    /// # Errors
    /// 53200 when the process already holds more than the limit: for operators that cannot reserve ahead.
    pub fn check(&self) -> Result<(), DataFusionError> {
        match self.limit {
            Some(limit) if allocated_bytes() > limit => Err(refused("statement", 0, limit)),
            _ => Ok(()),
        }
    }
}

fn refused(consumer: &str, wanted: usize, limit: usize) -> DataFusionError {
    raise(out_of_memory(format!(
        "Failed on request of size {wanted} in {consumer}; the limit is {limit} bytes."
    )))
}

impl fmt::Display for LimitedPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "limited(reserved: {}, limit: {:?})", self.reserved(), self.limit)
    }
}

impl MemoryPool for LimitedPool {
    fn name(&self) -> &str {
        "limited"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        self.reserved.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        self.reserved.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        let Some(limit) = self.limit else {
            self.grow(reservation, additional);
            return Ok(());
        };
        let name = reservation.consumer().name();
        // What is reserved is usually allocated already, so the two counts are compared, not added.
        if allocated_bytes().saturating_add(additional) > limit {
            return Err(refused(name, additional, limit));
        }
        self.reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                reserved.checked_add(additional).filter(|total| *total <= limit)
            })
            .map(|_| ())
            .map_err(|_| refused(name, additional, limit))
    }

    fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.limit.map_or(MemoryLimit::Infinite, MemoryLimit::Finite)
    }
}

#[cfg(test)]
mod tests;
