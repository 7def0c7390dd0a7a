//! The command `brooklet`: its subcommands, and what they print and write.

pub mod arguments;
pub mod commands;
pub mod html;
pub mod terminal;
