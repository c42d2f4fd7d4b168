//! The program `cri-gc`. All code is in the library, so that tests and benchmarks can use it.

use std::process::ExitCode;

/// One heap for all threads, which returns unused memory to the kernel. The C library's has one for each thread, which for a
/// program of many threads that nearly always wait is most of its memory.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    cri_gc::run()
}
