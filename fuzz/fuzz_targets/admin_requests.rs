#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cri_gc_fuzz_targets::admin_requests(data));
