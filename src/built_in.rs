//! Compile-time checks of models that are built into a program.

use core::mem::offset_of;

use crate::feature::Feature;
use crate::format::{LayerRecord, Operator, Packing, arena_bytes, flags};
use crate::kernels::Backend;

/// Embeds a model file into the program, aligned for every backend, and gives it as `&[u8]`.
///
/// The path starts from the folder of `Cargo.toml`, as in a build script of the same package:
///
/// ```
/// const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// # assert!(MODEL.as_ptr().addr().is_multiple_of(16));
/// ```
///
/// `include_model!(OUT_DIR / "net.brook")` embeds a file that the build script has written to the
/// folder in `OUT_DIR`.
///
/// # Compile errors
///
/// A model that cannot run here does not compile: if its weights are packed for other kernels than
/// those of [`Native`](crate::kernels::Native), if it needs a [`Feature`] that this build does not
/// have, or if the file is not a model. For a session on another backend, the macro names the
/// backend:
///
/// ```
/// use brooklet::kernels::{Direct, Portable};
///
/// const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook" for Direct<Portable>);
/// ```
///
/// This file is packed for portable kernels, so this does not compile:
///
/// ```compile_fail,E0080
/// # use brooklet::kernels::{Backend, Isa, Portable};
/// # struct Helium;
/// # impl Backend for Helium {
/// #     const ISA: &'static Isa = &Isa::HELIUM;
/// #     fn conv(
/// #         &self,
/// #         conv: &brooklet::ops::conv::Conv<'_>,
/// #         rows: &brooklet::ops::Rows<'_>,
/// #         shortcut: &brooklet::ops::Shortcut<'_>,
/// #         scratch: &mut [u8],
/// #         output: &mut [i8],
/// #     ) {
/// #         Portable.conv(conv, rows, shortcut, scratch, output);
/// #     }
/// # }
/// // error: this model is packed for other kernels: …
/// const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook" for Helium);
/// ```
#[macro_export]
macro_rules! include_model {
    ($name:literal) => {
        $crate::include_model!($name for $crate::kernels::Native)
    };
    ($name:literal for $backend:ty) => {
        $crate::include_model!(@ concat!(env!("CARGO_MANIFEST_DIR"), "/", $name), $backend)
    };
    (OUT_DIR / $name:literal) => {
        $crate::include_model!(OUT_DIR / $name for $crate::kernels::Native)
    };
    (OUT_DIR / $name:literal for $backend:ty) => {
        $crate::include_model!(@ concat!(env!("OUT_DIR"), "/", $name), $backend)
    };
    (@ $path:expr, $backend:ty) => {{
        #[repr(C, align(16))]
        struct Aligned<B: ?Sized>(B);
        static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        const _: () = $crate::assert_runs::<$backend>(include_bytes!($path));
        &FILE.0
    }};
}

/// Asserts in a `const` that a model file can run on the backend `B` in this build.
///
/// If not, the code does not compile; [`Session::new`](crate::Session::new) or
/// [`Model::parse`](crate::Model::parse) would refuse the file on the device.
/// [`include_model!`](crate::include_model) calls this.
///
/// ```
/// use brooklet::kernels::Native;
///
/// const MODEL: &[u8] = include_bytes!("../tests/golden/tiny.brook");
/// const _: () = brooklet::assert_runs::<Native>(MODEL);
/// ```
///
/// # Panics
///
/// If a layer's weights are in a packing that these kernels do not run, if a layer needs a
/// [`Feature`] that this build does not have, or if `file` does not begin as a model file does.
pub const fn assert_runs<B: Backend>(file: &[u8]) {
    let _ = arena_bytes(file);
    let layers = u16::from_le_bytes([file[30], file[31]]);
    let first = u32::from_le_bytes([file[32], file[33], file[34], file[35]]) as usize;
    let mut layer = 0;
    while layer < layers as usize {
        let record = first + layer * size_of::<LayerRecord>();
        let [operator, flags] = [file[record], file[record + 1]];
        if flags & (flags::INT16 | flags::HAS_INT16) != 0 {
            Feature::assert_on(Some(Feature::Int16));
        }
        if flags & flags::STREAM16 != 0 {
            Feature::assert_on(Some(Feature::Stream16));
        }
        Feature::assert_on(Operator::feature(operator));
        let has_packing = match Operator::from_number(operator) {
            Some(operator) => operator.has_packing(),
            None => false,
        };
        if has_packing && flags & flags::HAS_INT16 == 0 {
            let packing = file[record + offset_of!(LayerRecord, packing)];
            Feature::assert_on(Packing::feature(packing));
            assert!(
                runs::<B>(packing),
                "this model is packed for other kernels: `brooklet plan MODEL --board BOARD -o MODEL` \
                 packs it for those of a board"
            );
        }
        layer += 1;
    }
}

/// [`Backend::runs`] for the packing with this number.
const fn runs<B: Backend>(number: u8) -> bool {
    let rows_a_step = match Packing::from_number(number) {
        Some(packing) => packing.rows_a_step(),
        None => return false,
    };
    B::ISA.runs_number(number) && (B::SEVERAL_ROWS || rows_a_step == 1)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::panic::catch_unwind;
    use std::string::{String, ToString};

    use super::*;
    use crate::kernels::{Direct, Isa, Portable};

    const TINY: &[u8] = include_bytes!("../tests/golden/tiny.brook");

    /// The reason why a file does not compile, if it does not.
    fn refused<B: Backend>(file: &[u8]) -> Option<String> {
        let said = catch_unwind(|| assert_runs::<B>(file)).err()?;
        let text = said.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| said.downcast_ref::<String>().cloned())
    }

    /// A backend of which only the constants are used.
    struct Of<const HELIUM: bool>;

    impl<const HELIUM: bool> Backend for Of<HELIUM> {
        const ISA: &'static Isa = if HELIUM { &Isa::HELIUM } else { &Isa::PORTABLE };

        fn conv(
            &self,
            _: &crate::ops::conv::Conv<'_>,
            _: &crate::ops::Rows<'_>,
            _: &crate::ops::Shortcut<'_>,
            _: &mut [u8],
            _: &mut [i8],
        ) {
        }
    }

    #[test]
    fn a_model_for_other_kernels_does_not_compile() {
        assert_eq!(refused::<Of<false>>(TINY), None);
        assert!(refused::<Of<false>>(&TINY[1..]).unwrap().contains("wrong first bytes"));
        assert!(refused::<Of<true>>(TINY).unwrap().contains("packed for other kernels"));
        // `Direct` runs no packing whose steps make several rows.
        let mut quick = TINY.to_vec();
        let first = u32::from_le_bytes([quick[32], quick[33], quick[34], quick[35]]) as usize;
        let record = first + size_of::<LayerRecord>();
        assert_eq!(quick[record], Operator::Conv as u8);
        quick[record + offset_of!(LayerRecord, packing)] = Packing::Winograd as u8;
        assert_eq!(refused::<Portable>(&quick), None);
        assert!(refused::<Direct<Portable>>(&quick).unwrap().contains("packed for other kernels"));
    }
}
