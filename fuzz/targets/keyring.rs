#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| thingdb::keyring::fuzz_keyring(bytes));
