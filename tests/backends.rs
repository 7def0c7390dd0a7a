//! Every backend of the host computes what the reference computes.

use brooklet::format::Packing;
use brooklet::kernels::{Backend, Portable, Reference};
use brooklet::ops::conv::Conv;
use brooklet::ops::{Rows, Shortcut};
use brooklet_suite::{Memory, run};

#[test]
fn portable_is_the_reference() {
    let outcome = run(&Portable, &mut Box::new(Memory::new()));
    assert_eq!(outcome.failures, 0, "{outcome:?}");
    assert!(outcome.cases > 300, "{outcome:?}");
}

/// A backend with one mistake: the suite must find it.
struct Broken;

impl Backend for Broken {
    const NAME: &'static str = "broken";

    fn runs(&self, _: Packing) -> bool {
        true
    }

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        Reference.conv(conv, rows, shortcut, scratch, output);
        if conv.window.input.columns == 1
            && let Some(last) = output.last_mut()
        {
            *last = last.wrapping_add(1);
        }
    }
}

#[test]
fn the_suite_finds_a_mistake() {
    let outcome = run(&Broken, &mut Box::new(Memory::new()));
    assert!(outcome.failures > 0, "{outcome:?}");
}
