//! Nothing but tests: `tests/log.rs`.
