//! The program `cri-gc`. Everything it does is in the library beside it, so that tests and benchmarks can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cri_gc::run()
}
