//! Checks that changed model files are as intended, and that their results can be trusted.
//! `cargo xtask fuzz` tries many more.

#![cfg(feature = "seeds")]

use brooklet_mutants::{Kind, Oracle, Report, Verdict, mutant, seeds};

/// Number of mutants in this test.
const MUTANTS: u64 = 3000;

#[test]
fn mutants_are_refused_or_harmless() {
    let seeds = seeds();
    let mut oracle = Oracle::new();
    let mut report = Report::default();
    for number in 0..MUTANTS {
        let mutant = mutant(&seeds, number);
        let verdict = oracle.judge(&mutant.file);
        report.add(number, &mutant.kinds, &mutant.file, &verdict);
    }
    println!("{report}");
    assert!(report.found.is_empty(), "{report}");
    // Asserts that the mutants had a chance to find faults.
    assert!(report.ran * 4 > report.tried && report.refused * 4 > report.tried, "{report}");
    assert!(report.apart * 10 > report.ran * 9, "{report}");
}

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
