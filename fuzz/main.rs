//! The fuzzer: one program for all targets, since linking is what takes the time.
//!
//! `WAYBILL_FUZZ_TARGET` names the target. With `WAYBILL_FUZZ_PLANTED` set, a panic is planted
//! behind four bytes that the fuzzer has to find one by one: it shows that panics are found here,
//! and that the fuzzer sees which of its inputs lead further.

#![no_main]

use std::sync::LazyLock;

mod targets;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("WAYBILL_FUZZ_TARGET").unwrap_or_default();
    *targets::TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("WAYBILL_FUZZ_TARGET names no target: '{name}'"))
});
static PLANTED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("WAYBILL_FUZZ_PLANTED").is_some());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (TARGET.run)(data);
    if *PLANTED {
        planted(data);
    }
});

fn planted(data: &[u8]) {
    // Nested, for a comparison of four bytes at once would be one step.
    if data.first() == Some(&b'F')
        && data.get(1) == Some(&b'U')
        && data.get(2) == Some(&b'Z')
        && data.get(3) == Some(&b'Z')
    {
        panic!("the planted panic");
    }
}
