//! Every backend of the host computes the same as the reference.

use crate::common::{Watched, skipped};
#[cfg(target_arch = "x86_64")]
use brooklet::kernels::{Avx2, Avx512Vnni};
use brooklet::kernels::{Backend, Direct, Portable, Reference};
use brooklet::ops::conv::Conv;
use brooklet_suite::{Memory, run};

/// Runs the suite on a backend, if the machine has it.
fn is_the_reference<B: Backend>(backend: Option<B>) {
    let Some(backend) = backend else {
        return skipped(&format!("this machine lacks what backend {} needs", B::ISA.name));
    };
    let outcome = run(&backend, &mut Box::new(Memory::new()));
    let first = outcome.first.map(|first| first.to_string()).unwrap_or_default();
    assert_eq!(outcome.failures, 0, "of {} cases; {first}", outcome.cases);
    assert!(outcome.cases > 300, "{outcome:?}");
}

#[test]
fn portable_is_the_reference() {
    is_the_reference(Some(Portable));
}

#[test]
fn a_subset_is_the_reference() {
    is_the_reference(Some(Direct(Portable)));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx2_is_the_reference() {
    is_the_reference(Avx2::detect());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx512_vnni_is_the_reference() {
    is_the_reference(Avx512Vnni::detect());
}

/// A backend with one mistake, which the suite must find.
#[test]
fn the_suite_finds_a_mistake() {
    let spoil = |conv: &Conv<'_>, row: &mut [i8]| {
        if conv.window.input.columns == 1
            && let Some(last) = row.last_mut()
        {
            *last = last.wrapping_add(1);
        }
    };
    let outcome = run(&Watched::<_, _>(Reference, spoil), &mut Box::new(Memory::new()));
    assert!(outcome.failures > 0, "{outcome:?}");
    // A failure names its case, and the wrong value.
    let first = outcome.first.unwrap().to_string();
    println!("{first}");
    let conv =
        ": conv, 3×3 kernel, stride 1, 1 padded on the left, 1 columns of 4 channels to 1 of 4";
    assert!(first.contains(conv), "{first}");
    assert!(first.contains("; ohwi, no shortcut, any values: row 0, number 3 is "), "{first}");
}
