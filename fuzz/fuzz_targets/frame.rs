#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chio_fuzz::frame(bytes));
