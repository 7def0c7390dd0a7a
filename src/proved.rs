//! Values that cannot be missing: most of them were proved by
//! [`Model::parse`](crate::Model::parse).
//!
//! Running must not panic, so a line that would otherwise panic has a fallback that is never taken:
//! `proved!(bytes.get(range)).unwrap_or(&[])`. With debug assertions, as in tests, taking the
//! fallback panics. Without them `proved!` does nothing.

/// An expression that was proved to be `Some`, `Ok` or `true`.
#[cfg(debug_assertions)]
macro_rules! proved {
    ($what:expr) => {
        match $what {
            what => {
                assert!($crate::proved::Proved::is_there(&what), "what was proved does not hold");
                what
            }
        }
    };
}

/// An expression that was proved to be `Some`, `Ok` or `true`.
#[cfg(not(debug_assertions))]
macro_rules! proved {
    ($what:expr) => {
        $what
    };
}

pub(crate) use proved;

/// A value that can be missing, or a condition that can fail.
#[cfg(debug_assertions)]
pub(crate) trait Proved {
    /// Whether the value is there, or the condition holds.
    fn is_there(&self) -> bool;
}

#[cfg(debug_assertions)]
impl<T> Proved for Option<T> {
    #[inline]
    fn is_there(&self) -> bool {
        self.is_some()
    }
}

#[cfg(debug_assertions)]
impl<T, E> Proved for Result<T, E> {
    #[inline]
    fn is_there(&self) -> bool {
        self.is_ok()
    }
}

#[cfg(debug_assertions)]
impl Proved for bool {
    #[inline]
    fn is_there(&self) -> bool {
        *self
    }
}
