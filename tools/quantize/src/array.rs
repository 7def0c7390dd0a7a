//! Arrays from `.npy` and `.npz` files.
//!
//! The header of a file is read here, in time proportional to its length, and its declared size is
//! compared with the bytes of the file before memory is allocated. NumPy's headers are Python
//! literals, and a general parser of Python can be made to run for ever.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ndarray::{Array, Dimension};
use ndarray_npy::{ReadNpyExt, ReadableElement};
use zip::ZipArchive;

use crate::error::DataProblem;
use brooklet_files::{self as files, Limit};

/// Longest header that is read: NumPy itself writes a few hundred bytes at most.
const HEADER_BYTES: usize = 1 << 16;

/// Most dimensions, as in NumPy.
const DIMENSIONS: usize = 32;

/// An array of this element type and number of dimensions, from the bytes of an `.npy` file.
///
/// # Errors
///
/// What is wrong with the file, or which array it holds instead.
pub fn npy<T: ReadableElement, D: Dimension>(bytes: &[u8]) -> Result<Array<T, D>, String> {
    Header::read(bytes)?;
    Array::read_npy(bytes).map_err(|error| error.to_string())
}

/// The type of the elements of an `.npy` file, such as `<f4`.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn element(bytes: &[u8]) -> Result<String, String> {
    Header::read(bytes).map(|header| header.descr.to_owned())
}

/// What a header says.
#[derive(Debug, PartialEq)]
struct Header<'b> {
    /// The element type, such as `<f4`.
    descr: &'b str,
    shape: Vec<u64>,
}

impl<'b> Header<'b> {
    /// Reads a file's header, and compares it with the file's length.
    fn read(bytes: &'b [u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("it does not begin as .npy files do")?;
        let cut = || "it ends within its header".to_owned();
        let (version, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (length, rest) = match version {
            [1, 0] => {
                let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
                (usize::from(u16::from_le_bytes(*length)), rest)
            }
            [2 | 3, 0] => {
                let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
                (u32::from_le_bytes(*length) as usize, rest)
            }
            [major, minor] => return Err(format!("its version is {major}.{minor}")),
        };
        if length > HEADER_BYTES {
            return Err(format!("its header claims {length} bytes"));
        }
        let (text, data) = rest.split_at_checked(length).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| "its header is not text")?;
        let header = Parser { rest: text }.header().ok_or("its header is not NumPy's")?;
        // Some sizes overflow before they are multiplied by a zero.
        let sizes = header.shape.iter().filter(|&&n| n > 0);
        let elements = sizes.clone().try_fold(1u64, |product, &n| product.checked_mul(n));
        let elements = elements.filter(|&elements| elements <= isize::MAX as u64);
        let empty = sizes.count() < header.shape.len();
        let width = header.descr.trim_start_matches(['<', '>', '|', '=']);
        let width = width.get(1..).and_then(|width| width.parse::<u64>().ok());
        let width = width.ok_or_else(|| format!("its elements are of type {}", header.descr))?;
        let claimed = elements.and_then(|elements| elements.checked_mul(width));
        let claimed = if empty { claimed.map(|_| 0) } else { claimed };
        match claimed == Some(data.len() as u64) {
            true => Ok(header),
            false => Err(format!(
                "it declares {:?} elements of {width} bytes, but holds {} bytes",
                header.shape,
                data.len(),
            )),
        }
    }
}

/// A parser for the dictionary that NumPy writes:
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn header(mut self) -> Option<Header<'t>> {
        let (mut descr, mut order, mut shape) = (None, None, None);
        self.take("{")?;
        while self.take("}").is_none() {
            let key = self.string()?;
            self.take(":")?;
            match key {
                "descr" if descr.is_none() => descr = Some(self.string()?),
                "fortran_order" if order.is_none() => {
                    order = Some(self.take("True").or_else(|| self.take("False"))?);
                }
                "shape" if shape.is_none() => shape = Some(self.shape()?),
                _ => return None,
            }
            if self.take(",").is_none() {
                self.take("}")?;
                break;
            }
        }
        order?;
        self.rest.trim().is_empty().then_some(Header { descr: descr?, shape: shape? })
    }

    /// A given sign, after any space.
    fn take(&mut self, sign: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(sign)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'t str> {
        let rest = self.rest.trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let (text, rest) = rest.get(1..)?.split_once(quote)?;
        self.rest = rest;
        Some(text)
    }

    fn shape(&mut self) -> Option<Vec<u64>> {
        let mut shape = Vec::new();
        self.take("(")?;
        while self.take(")").is_none() {
            let rest = self.rest.trim_start();
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            shape.push(rest.get(..digits)?.parse().ok()?);
            self.rest = rest.get(digits..)?;
            if shape.len() > DIMENSIONS {
                return None;
            }
            if self.take(",").is_none() {
                self.take(")")?;
                break;
            }
        }
        Some(shape)
    }
}

/// Arrays with names.
pub(crate) struct Npz {
    zip: ZipArchive<File>,
}

impl Npz {
    pub(crate) fn open(path: &Path) -> Result<Self, DataProblem> {
        let (file, _) = files::open(path)?;
        let zip = ZipArchive::new(file).map_err(|error| {
            let detail = format!("is not an array of images or features, in an .npz file: {error}");
            DataProblem::Data { detail }
        })?;
        Ok(Self { zip })
    }

    /// The names of the arrays, as in the file.
    pub(crate) fn names(&self) -> Vec<String> {
        self.zip.file_names().map(str::to_owned).collect()
    }

    /// The bytes of an array, in the form of an `.npy` file.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn member(&mut self, name: &str) -> Result<Vec<u8>, String> {
        /// The best ratio that deflate can reach.
        const BEST_RATIO: u64 = 1032;
        let mut member = self.zip.by_name(name).map_err(|error| error.to_string())?;
        let (packed, size) = (member.compressed_size(), member.size());
        if size > packed.saturating_mul(BEST_RATIO) {
            return Err(format!("`{name}` declares {size} bytes, but holds {packed}"));
        }
        let bytes = files::take(&mut member, size, Limit::Unpacked);
        let bytes = bytes.map_err(|problem| format!("`{name}`: {problem}"))?;
        // The checksum is compared when the end is read.
        let more = member.read(&mut [0]).map_err(|error| format!("`{name}`: {error}"))?;
        match more == 0 && bytes.len() as u64 == size {
            true => Ok(bytes),
            false => Err(format!("`{name}` does not have the {size} bytes that it declares")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix1, Ix2};
    use ndarray_npy::WriteNpyExt;

    /// A file of version 1 with this header.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn headers_that_numpy_writes() {
        let mut bytes = Vec::new();
        Array::<f32, Ix2>::zeros((3, 2)).write_npy(&mut bytes).unwrap();
        assert_eq!(Header::read(&bytes), Ok(Header { descr: "<f4", shape: vec![3, 2] }));
        assert_eq!(npy::<f32, Ix2>(&bytes).unwrap().dim(), (3, 2));
        for header in [
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }   \n",
            "{\"shape\": (2,), \"fortran_order\": True, \"descr\": \"|u1\"}\n",
        ] {
            assert_eq!(npy::<u8, Ix1>(&file(header, &[7, 8])).unwrap().to_vec(), [7, 8]);
        }
        let scalar = file("{'descr': '|u1', 'fortran_order': False, 'shape': ()}", &[1]);
        assert!(Header::read(&scalar).unwrap().shape.is_empty());
    }

    #[test]
    fn headers_that_are_refused_without_work() {
        let nested = format!("{{'descr': {}'<f4', ", "[(".repeat(30_000));
        for header in [
            "",
            "{",
            "{'descr': '<f4'",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} and more",
            &nested,
        ] {
            let refused = Header::read(&file(header, &[0; 4])).unwrap_err();
            assert_eq!(refused, "its header is not NumPy's", "{header:.80}");
        }
        let shaped =
            |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
        for shape in [
            "(0, 4294967296, 4294967296, 4294967296)",
            "(3,)",
            "(1125899906842624,)",
            "(4294967296, 4294967296, 4)",
            "(0,)",
        ] {
            let refused = Header::read(&file(&shaped(shape), &[0; 4])).unwrap_err();
            assert!(refused.contains("but holds 4 bytes"), "{refused}");
        }
        let object = file("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", &[0; 4]);
        assert!(Header::read(&object).unwrap_err().contains("type |O"));
    }
}
