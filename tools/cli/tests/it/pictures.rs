//! Data sets of all kinds, and data that are refused.

use std::path::Path;

use crate::common::shared_data;
use brooklet_cli::remedies::Remedy;
use brooklet_quantize::data::{Dataset, Preprocess, Resize, read_image};
use brooklet_quantize::error::{DataError, DataProblem};
use image::{Rgb, RgbImage};
use ndarray::{Array1, Array4, Axis};
use ndarray_npy::{NpzWriter, write_npy};

const RAW: Preprocess = Preprocess { resize: None, crop: None, mean: None, std: None };

fn open(path: &Path, input: [usize; 3], preprocess: &Preprocess) -> Result<Dataset, DataError> {
    Dataset::open(path.to_str().unwrap(), input, preprocess)
}

#[test]
fn a_folder_with_a_subfolder_a_class() {
    let folder = tempfile::tempdir().unwrap();
    for (class, red) in [("dog", 10), ("cat", 20)] {
        let class = folder.path().join(class);
        std::fs::create_dir(&class).unwrap();
        for number in 0..2 {
            let image = RgbImage::from_fn(5, 4, |x, y| Rgb([red + number, x as u8, y as u8]));
            image.save(class.join(format!("{number}.png"))).unwrap();
        }
        std::fs::write(class.join("notes.txt"), "no image").unwrap();
    }
    let data = open(folder.path(), [4, 5, 3], &RAW).unwrap();
    assert_eq!((data.len(), data.classes().unwrap()), (4, &["cat".into(), "dog".into()][..]));
    let image = data.get(3).unwrap();
    assert_eq!(image.label, Some(1));
    assert_eq!(image.pixels.index_axis(Axis(2), 0)[[0, 0]], 11);
    assert_eq!(image.pixels[[2, 3, 1]], 3);
    assert_eq!(image.pixels[[2, 3, 2]], 2);

    let error = open(folder.path(), [8, 8, 3], &RAW).unwrap().get(0).unwrap_err();
    let text = format!("{error} | {}", error.remedy().unwrap());
    assert!(text.contains("0.png: is 4×5×3") && text.contains("takes 8×8×3"), "{text}");
    assert!(text.contains("--resize 8 --crop 8x8"), "{text}");

    // Resized from 4×5 to 8×10, then cropped to the centre.
    let fitted = Preprocess { resize: Some(Resize::Shorter(8)), crop: Some([8, 8]), ..RAW };
    assert_eq!(
        open(folder.path(), [8, 8, 3], &fitted).unwrap().get(0).unwrap().pixels.dim(),
        (8, 8, 3)
    );
    // Resized to another aspect ratio without cropping: columns 0 and 4 are still at the ends.
    let stretched = Preprocess { resize: Some(Resize::To([8, 5])), ..RAW };
    let image = open(folder.path(), [8, 5, 3], &stretched).unwrap().get(0).unwrap();
    let columns: Vec<u8> = (0..5).map(|x| image.pixels[[0, x, 1]]).collect();
    assert_eq!(columns, [0, 1, 2, 3, 4]);
    assert_eq!((image.pixels[[0, 0, 2]], image.pixels[[7, 0, 2]]), (0, 3));
    let crop = Preprocess { crop: Some([9, 9]), ..RAW };
    let error = open(folder.path(), [9, 9, 3], &crop).unwrap().get(0).unwrap_err();
    assert!(matches!(error.problem, DataProblem::CropSize { .. }));
}

#[test]
fn a_centre_crop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.png");
    RgbImage::from_fn(6, 7, |x, y| Rgb([x as u8, y as u8, 0])).save(&path).unwrap();
    let pixels = read_image(&path, [4, 4, 3], &Preprocess { crop: Some([4, 4]), ..RAW }).unwrap();
    // Rows start at 1.5, rounded to the even 2; columns at 1.
    assert_eq!((pixels[[0, 0, 0]], pixels[[0, 0, 1]]), (1, 2));
}

#[test]
fn arrays() {
    let folder = tempfile::tempdir().unwrap();
    let last =
        Array4::from_shape_fn((3, 4, 5, 3), |(n, y, x, c)| (n * 60 + y * 15 + x * 3 + c) as u8);
    let npy = folder.path().join("x.npy");
    write_npy(&npy, &last).unwrap();
    let data = open(&npy, [4, 5, 3], &RAW).unwrap();
    assert_eq!((data.len(), data.get(2).unwrap().label), (3, None));
    assert_eq!(data.get(2).unwrap().pixels, last.index_axis(Axis(0), 2));

    let npz = folder.path().join("x.npz");
    let mut writer = NpzWriter::new_compressed(std::fs::File::create(&npz).unwrap());
    let first = last.view().permuted_axes([0, 3, 1, 2]).as_standard_layout().into_owned();
    writer.add_array("x", &first).unwrap();
    writer.add_array("y", &Array1::from(vec![7i64, 8, 9])).unwrap();
    writer.finish().unwrap();
    let data = open(&npz, [4, 5, 3], &RAW).unwrap();
    let image = data.get(1).unwrap();
    assert_eq!((image.label, image.pixels.view()), (Some(8), last.index_axis(Axis(0), 1)));

    let error = open(&npy, [8, 8, 3], &RAW).unwrap().get(0).unwrap_err();
    assert!(error.to_string().contains("x.npy: `image 0`: is 4×5×3"), "{error}");
    std::fs::write(&npy, b"\x93NUMPY\x01\0").unwrap();
    assert!(matches!(open(&npy, [4, 5, 3], &RAW).err().unwrap().problem, DataProblem::Data { .. }));
}

#[test]
fn noise_repeats() {
    let data = Dataset::open("random:5", [32, 32, 3], &RAW).unwrap();
    assert_eq!((data.len(), data.get(1).unwrap().label), (5, None));
    assert_eq!(data.get(1).unwrap(), data.get(1).unwrap());
    assert_ne!(data.get(1).unwrap(), data.get(2).unwrap());
    let mean = data.get(0).unwrap().pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / 3072.0;
    assert!((mean - 127.5).abs() < 5.0, "{mean}");
}

#[test]
fn nothing_and_nonsense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path(), [4, 4, 3], &RAW).err().unwrap();
    assert!(error.to_string().contains("holds no images"), "{error}");
    assert!(Dataset::open("random:0", [4, 4, 3], &RAW).is_err());
    assert!(Dataset::open("random:many", [4, 4, 3], &RAW).is_err());
    assert!(matches!(
        open(&folder.path().join("gone"), [4, 4, 3], &RAW).err().unwrap().problem,
        DataProblem::File(_)
    ));
    let odd = folder.path().join("odd.bin");
    std::fs::write(&odd, vec![0; 3074]).unwrap();
    assert!(open(&odd, [32, 32, 3], &RAW).err().unwrap().to_string().contains("3074 bytes"));
    let fake = folder.path().join("fake.png");
    std::fs::write(&fake, b"not an image").unwrap();
    assert!(read_image(&fake, [4, 4, 3], &RAW).is_err());
}

#[test]
fn cifar() {
    let Some(data) = shared_data("cifar images") else {
        return;
    };
    let data = open(&data.join("cifar10/calib_train_1000.bin"), [32, 32, 3], &RAW).unwrap();
    assert_eq!(data.len(), 1000);
    assert_eq!(data.classes().unwrap()[9], "truck");
    let mut counts = [0; 10];
    for index in 0..data.len() {
        counts[data.get(index).unwrap().label.unwrap()] += 1;
    }
    assert_eq!(counts, [100; 10]);
}

#[test]
fn normalization() {
    let preprocess = Preprocess { mean: Some([0.5; 3]), std: Some([0.25; 3]), ..RAW };
    assert_eq!([0, 255].map(|pixel| preprocess.normalize(pixel, 1)), [-2.0, 2.0]);
    assert_eq!(RAW.normalize(200, 0), 200.0);
}
