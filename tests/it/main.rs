//! The tests of the core: one program, so that shared code is compiled and linked once.

mod asynchronous;
mod backends;
mod common;
mod format;
mod hostile;
mod interpreter;
mod maps;
mod networks;
mod planner;
mod self_test;
mod shared_weights;
mod split;
mod weights;
mod window;
