//! The tests of the command and of its libraries: one program, so that common code is compiled and
//! linked once.

mod accuracy;
mod arch;
mod bits;
mod boards;
mod bug_reports;
mod camera;
mod checkpoints;
mod command;
mod common;
mod corrupt;
mod costs;
mod cycles;
mod debugger;
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
mod functions;
#[cfg(target_os = "linux")]
mod hostile;
mod int16;
mod keras;
mod maps;
mod mlperf;
mod networks;
mod nucleo;
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

/// A part of the projects that `brooklet init` writes.
#[path = "../../templates/pixels.rs.txt"]
#[expect(unreachable_pub, reason = "it is also a module of a program")]
mod pixels;
