#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mintkeep_fuzz::redirect::run(data);
});
