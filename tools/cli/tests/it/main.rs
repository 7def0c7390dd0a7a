//! The tests of the command and of its libraries: one program, so that common code is compiled and
//! linked once.

mod accuracy;
mod arch;
mod bits;
mod boards;
mod bug_reports;
mod checkpoints;
mod command;
mod common;
mod corrupt;
mod costs;
mod cycles;
mod desk;
mod devices;
mod doctor;
mod ensemble;
mod export;
mod exports;
mod files;
mod fit;
mod flash_waits;
mod float_forward;
#[cfg(target_os = "linux")]
mod hostile;
mod int16;
mod mlperf;
mod networks;
mod onnx;
mod page;
mod pictures;
mod plan;
mod push;
mod qdq;
mod real_networks;
mod refusals;
mod schema;
mod scores;
mod shell;
mod spellings;
mod stream;
mod terminal;
mod threads;
mod tutorial;
mod units;
mod unsupported;
