//! A build refuses what it cannot run, and names the layer. Tested alone, this crate builds the
//! core without its features (`cargo test -p brooklet-suite`); together with the others, which
//! enable them, nothing is refused.

use std::panic::catch_unwind;

use brooklet::format::{Header, LayerRecord, Operator, crc};
use brooklet::kernels::Portable;
use brooklet::{Error, Fault, Feature, Model};
use zerocopy::FromBytes;

/// A file that needs the feature.
fn needing(feature: Feature) -> Vec<u8> {
    match feature {
        Feature::Int16 => include_bytes!("../../golden/tiny-16.brook").to_vec(),
        Feature::Stream16 => include_bytes!("../../golden/tiny-stream16.brook").to_vec(),
        Feature::Int4 => include_bytes!("../../golden/tiny-4.brook").to_vec(),
        Feature::SubByte => include_bytes!("../../golden/tiny-5.brook").to_vec(),
        // Not a file that could run: a convolution with the number of another operator.
        _ => {
            let number = (0..=u8::MAX).find(|&n| Operator::feature(n) == Some(feature)).unwrap();
            let mut file = include_bytes!("../../golden/tiny.brook").to_vec();
            let at = Header::ref_from_prefix(&file).unwrap().0.layers_offset.get() as usize;
            file[at + size_of::<LayerRecord>()] = number;
            let crc = crc(&file[20..]).to_le_bytes();
            file[16..20].copy_from_slice(&crc);
            file
        }
    }
}

#[test]
fn what_a_build_lacks_it_refuses() {
    let alone = std::env::var_os("BROOKLET_ALONE").is_some();
    for feature in Feature::ALL {
        assert!(!(alone && feature.is_on()), "{feature} is on, and so its lack is not tested");
        let file = needing(feature);
        let refused = match Model::parse(&file) {
            Err(Error::Layer { fault: Fault::Feature(missing), .. }) => Some(missing),
            _ => None,
        };
        assert_eq!(refused, (!feature.is_on()).then_some(feature));
        // For a built-in model the compiler reports it: an assertion in a `const`.
        let said = catch_unwind(|| brooklet::assert_runs::<Portable>(&file)).err().map(|said| {
            let text = said.downcast_ref::<&str>().map(ToString::to_string);
            text.or_else(|| said.downcast_ref::<String>().cloned()).unwrap_or_default()
        });
        assert_eq!(said.is_some(), !feature.is_on(), "{feature}");
        assert!(said.is_none_or(|said| said.contains(&format!("`{feature}`"))), "{feature}");
    }
}
