//! Only tests: `tests/log.rs`.
