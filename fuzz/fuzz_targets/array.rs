//! Bytes as a data set: `.npy`, `.npz`, or CIFAR-10's records. Its first and last images are read,
//! or it is refused.

#![no_main]

use brooklet_fuzz::{in_file, readable};
use brooklet_quantize::data::{Dataset, Preprocess, Resize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let name = if bytes.starts_with(b"\x93NUMPY") {
        "d.npy"
    } else if bytes.starts_with(b"PK") {
        "d.npz"
    } else {
        "d.bin"
    };
    let crops = Preprocess { resize: Some(Resize::Shorter(9)), crop: Some([8, 8]), ..Preprocess::default() };
    in_file(name, bytes, |path| {
        let path = path.to_str().expect("its name is text");
        for (input, preprocess) in [([2, 2, 3], Preprocess::default()), ([8, 8, 3], crops)] {
            let data = match Dataset::open(path, input, &preprocess) {
                Ok(data) => data,
                Err(error) => {
                    readable(&error);
                    continue;
                }
            };
            for index in data.spread(3) {
                match data.get(index) {
                    Ok(image) => assert_eq!(image.pixels.shape(), input),
                    Err(error) => readable(&error),
                }
            }
        }
    });
});
