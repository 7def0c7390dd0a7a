//! The command `brooklet`: its subcommands, and what they print and write.

pub mod commands;
pub mod html;
pub mod write;

pub use brooklet_firmware::cycles;
pub use brooklet_import::{self as import, error, network, quantized};
pub use brooklet_plan::{cost, ensemble, memory_map, model_file, packing, plan, program, timeline};
pub use brooklet_quantize::{
    absorption, advice, bits, calibrate, compare, data, equalize, evaluate, float, int16, learn,
    lower, quantize, recipe, rounding,
};
