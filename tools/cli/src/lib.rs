//! The command `brooklet`: its subcommands, and what they print and write.

pub mod arguments;
pub mod commands;
mod report;
pub mod terminal;
