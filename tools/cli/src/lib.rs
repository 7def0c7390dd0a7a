//! The command `brooklet`: its subcommands, and what they print and write.

pub mod arguments;
pub mod commands;
pub mod failure;
pub mod project;
pub mod remedies;
mod report;
pub mod terminal;
