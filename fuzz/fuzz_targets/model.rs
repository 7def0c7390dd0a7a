//! Bytes as a model file: refused, or run to its end with the same results on every backend.
//!
//! Half of the inputs are made by `brooklet_mutants`, which knows the structure of a model file. A
//! wrong checksum would end every input at once, so it is corrected first.

#![no_main]

use std::cell::RefCell;

use brooklet_mutants::{Oracle, Random, changed, seal};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

thread_local! {
    static ORACLE: RefCell<Oracle> = RefCell::new(Oracle::new());
}

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    seal(&mut file);
    let verdict = ORACLE.with_borrow_mut(|oracle| oracle.judge(&file));
    if let Err(what) = verdict {
        panic!("{what}");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed.into());
    if random.one_in(2) {
        let file = changed(&data[..size], &mut random).file;
        if let Some(place) = data[..max_size].get_mut(..file.len()) {
            place.copy_from_slice(&file);
            return file.len();
        }
    }
    fuzzer_mutate(data, size, max_size)
});
