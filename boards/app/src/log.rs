//! Logging: defmt's macros with the feature `defmt`, nothing otherwise.

#[cfg(feature = "defmt")]
pub(crate) use defmt::{error, info};

/// Evaluates nothing, but counts as a use of the arguments.
#[cfg(not(feature = "defmt"))]
macro_rules! silent {
    ($format:literal $(, $argument:expr)* $(,)?) => {
        if false {
            $( let _ = &$argument; )*
        }
    };
}

#[cfg(not(feature = "defmt"))]
pub(crate) use {silent as error, silent as info};
