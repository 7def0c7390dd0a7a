//! Changed model files are what they should be, and what is made of them can be trusted.
//! `cargo xtask fuzz` tries many more.

#![cfg(feature = "seeds")]

use brooklet_mutants::{Kind, Oracle, Verdict, mutant, seeds};

/// Mutants of this test.
const MUTANTS: u64 = 3000;

#[test]
fn seeds_are_accepted_and_compared() {
    let mut oracle = Oracle::new();
    for (number, seed) in seeds().iter().enumerate() {
        let verdict = oracle.judge(seed);
        let ran = matches!(verdict, Ok(Verdict::Ran { compared, .. }) if compared.apart);
        assert!(ran, "seed {number}: {verdict:?}");
    }
}

#[test]
fn mutants_are_the_same_every_time() {
    let seeds = seeds();
    for number in (0..MUTANTS).step_by(100) {
        assert_eq!(mutant(&seeds, number).file, mutant(&seeds, number).file);
    }
    let mut kinds: Vec<Kind> = (0..MUTANTS).flat_map(|n| mutant(&seeds, n).kinds).collect();
    kinds.sort_by_key(|kind| kind.name());
    kinds.dedup();
    assert_eq!(kinds.len(), Kind::ALL.len());
}
