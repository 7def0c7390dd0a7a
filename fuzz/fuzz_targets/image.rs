//! Bytes as an image file, PNG or JPEG: read, then read again with resizing and cropping, or
//! refused.

#![no_main]

use brooklet_fuzz::{in_file, readable};
use brooklet_quantize::data::{Preprocess, Resize, read_image};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let name = if bytes.starts_with(b"\x89PNG") { "i.png" } else { "i.jpg" };
    let crops = Preprocess { resize: Some(Resize::Shorter(9)), crop: Some([8, 8]), ..Preprocess::default() };
    in_file(name, bytes, |path| {
        for (input, preprocess) in [([8, 8, 3], Preprocess::default()), ([8, 8, 1], crops)] {
            match read_image(path, input, &preprocess) {
                Ok(pixels) => assert_eq!(pixels.shape(), input),
                Err(error) => readable(&error),
            }
        }
    });
});
