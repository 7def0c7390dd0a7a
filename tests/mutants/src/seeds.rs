//! The files from which mutants are made: small networks that together have everything.

#[path = "../../it/common/mod.rs"]
#[allow(dead_code, reason = "the tests of the core use the rest")]
mod common;

use brooklet::format::Packing;
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;

use common::families::network_of_families;
use common::{in_bits_of, model_file, network, network_of_maps, with_int16, with_stream16};

/// Number of networks for each packing.
const EACH: u64 = 5;

/// All seeds, always the same.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut programs: Vec<Program> = Vec::new();
    for (index, packing) in (0..).zip(Packing::ALL) {
        for seed in EACH * index..EACH * (index + 1) {
            let program = network(seed, 1 + seed as usize % 3);
            programs.push(in_bits_of(program, packing));
        }
    }
    for seed in 100..116 {
        let packing = Packing::ALL[seed as usize % Packing::ALL.len()];
        let program = with_int16(network(seed, 1 + seed as usize % 3), seed);
        programs.push(program.packed(packing));
    }
    for seed in 120..130 {
        let packing = Packing::ALL[seed as usize % Packing::ALL.len()];
        let program = with_stream16(network(seed, 1 + seed as usize % 3), seed);
        programs.push(program.packed(packing));
    }
    for seed in 300..340 {
        let packing = Packing::ALL[seed as usize % Packing::ALL.len()];
        let program = network_of_families(seed, 1 + seed as usize % 4);
        programs.push(program.packed(packing));
    }
    for seed in 400..408 {
        let packing = Packing::ALL[seed as usize % Packing::ALL.len()];
        let program = network_of_maps(seed, seed as usize % 3);
        let program = if seed % 4 == 3 { with_int16(program, seed) } else { program };
        programs.push(program.packed(packing));
    }
    let mut files: Vec<Vec<u8>> = programs.iter().map(model_file).collect();
    // The shortest possible segments, with whole tensors between them.
    for program in programs.iter().step_by(7) {
        let goal = Goal::Speed { arena_bytes: usize::MAX };
        files.push(program.write(&plan(program, goal).expect("a residual network can be cut")));
    }
    // More layers than a segment can have.
    files.push(model_file(&network(200, 24)));
    files
}
