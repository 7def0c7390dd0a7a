//! Files of single operators, made by TensorFlow's converter, give the same bytes as in TensorFlow
//! Lite for Microcontrollers, and so do small networks of 16 bits. `tflm/make.py` made the files,
//! and the expected answers with TFLM.

use std::fs::{self, File};
use std::path::Path;

use brooklet_import::{Imported, Options, load};
use brooklet_plan::Preprocess;
use brooklet_quantize::lower::int8::lower;
use ndarray::{Array1, Array2};
use ndarray_npy::NpzReader;
use rayon::prelude::*;

use crate::{files, in_session};

/// Number of operators, and the least number of files for each.
const OPERATORS: usize = 27;
const FILES: usize = 200;

/// Least number of networks of 16 bits.
const WIDE: usize = 60;

/// Bytes for the input of a file, by its number.
fn image(number: usize, size: usize) -> Vec<i8> {
    let byte = |index: usize| ((index + number * 7919) as u64 * 2_654_435_761) >> 11;
    (0..size).map(|index| byte(index) as i8).collect()
}

/// The answer of brooklet to the file's image: the bytes of the last layer.
fn answer(file: &Path, number: usize) -> Result<Vec<i16>, String> {
    let network = load(file, &Options::default()).map_err(|error| error.to_string())?;
    let Imported::Quantized(network) = network else { return Err("a float network".into()) };
    let image = image(number, network.input.iter().product());
    let mut program = lower(&network, &Preprocess::default()).map_err(|error| error.to_string())?;
    // The input is int8 already: a byte is the value plus 128.
    program.layers[0].table = None;
    let image: Vec<u8> = image.iter().map(|&q| (q as u8) ^ 0x80).collect();
    in_session(&program, |session| {
        session.push_image(&image).map_err(|error| error.to_string())?;
        Ok(session.map().map_err(|error| error.to_string())?.scores().collect())
    })
}

#[test]
fn operators_give_the_bytes_of_tflm() {
    let files = files("tflm", &["npz"]);
    assert_eq!(files.len(), OPERATORS);
    let wrong: Vec<String> = files.par_iter().flat_map(|path| of_operator(path)).collect();
    assert!(wrong.is_empty(), "{} files: {wrong:#?}", wrong.len());
}

/// The wrong answers for an operator's files.
fn of_operator(path: &Path) -> Vec<String> {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let mut archive = NpzReader::new(File::open(path).unwrap()).unwrap();
    let files: Array1<u8> = archive.by_name("files.npy").unwrap();
    let wide = name == "wide";
    let answers: Vec<i16> = if wide {
        let answers: Array1<i16> = archive.by_name("answers.npy").unwrap();
        answers.to_vec()
    } else {
        let answers: Array1<i8> = archive.by_name("answers.npy").unwrap();
        answers.iter().map(|&answer| answer.into()).collect()
    };
    let sizes: Array2<u32> = archive.by_name("sizes.npy").unwrap();
    assert!(sizes.nrows() >= if wide { WIDE } else { FILES }, "{name}: {} files", sizes.nrows());
    let folder = tempfile::tempdir().unwrap();
    let (mut files, mut answers) = (files.as_slice().unwrap(), &answers[..]);
    let mut wrong = Vec::new();
    for (number, size) in sizes.outer_iter().enumerate() {
        let (file, expected);
        (file, files) = files.split_at(size[0] as usize);
        (expected, answers) = answers.split_at(size[1] as usize);
        let path = folder.path().join(format!("{number}.tflite"));
        fs::write(&path, file).unwrap();
        match answer(&path, number) {
            Ok(found) if found == expected => {}
            Ok(found) => {
                let pairs = found.iter().zip(expected).enumerate();
                let mut unequal = pairs.filter(|(_, (found, expected))| found != expected);
                wrong.push(format!(
                    "{name} {number}: {} of {} bytes, {} of them wrong, first {:?}",
                    found.len(),
                    expected.len(),
                    unequal.clone().count(),
                    unequal.next(),
                ));
            }
            Err(error) => wrong.push(format!("{name} {number}: {error}")),
        }
    }
    wrong
}
