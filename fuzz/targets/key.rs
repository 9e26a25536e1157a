#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| thingdb_fuzz::key(bytes));
