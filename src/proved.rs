//! What cannot be missing, as it was proved before: most of it by [`Model::parse`](crate::Model::parse).
//!
//! Running has no panics, so a line that would need one has a way out that is never taken:
//! `proved!(bytes.get(range)).unwrap_or(&[])`. Where assertions are on, as in tests, taking it
//! panics. Else `proved!` is nothing.

/// An expression that is `Some`, `Ok` or `true`, as was proved.
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

/// An expression that is `Some`, `Ok` or `true`, as was proved.
#[cfg(not(debug_assertions))]
macro_rules! proved {
    ($what:expr) => {
        $what
    };
}

pub(crate) use proved;

/// What may be there or not, or hold or not.
#[cfg(debug_assertions)]
pub(crate) trait Proved {
    /// Whether it is there, or holds.
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
