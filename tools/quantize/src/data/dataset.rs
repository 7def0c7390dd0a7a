//! A data set.

use std::ops::Range;
use std::path::PathBuf;

use brooklet_plan::Preprocess;
use image::RgbImage;
use ndarray::{Array3, Array4, Axis};

use super::fit::{fit, normalized, read_image};
use super::noise::Noise;
use super::source::{Source, label_byte, record};
use crate::error::{DataError, DataProblem};
use crate::network::Shape;

/// An image and its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Bytes, `[height, width, channels]`.
    pub pixels: Array3<u8>,
    /// Index of its class, if known.
    pub label: Option<usize>,
}

/// Images that are read by their index.
pub struct Dataset {
    /// The data as the user named it.
    spec: PathBuf,
    source: Source,
    classes: Option<Vec<String>>,
    /// Whether the images' classes are known, and are of use.
    labelled: bool,
    input: Shape,
    preprocess: Preprocess,
}

impl Dataset {
    /// Opens a folder of images (one subfolder per class), a CIFAR-10 binary file, an `.npy` or
    /// `.npz` file, or `random:N`, for a network with this input.
    ///
    /// ```
    /// use brooklet_quantize::data::{Dataset, Preprocess};
    ///
    /// // Noise for images of 32 × 32 RGB pixels, the same each time.
    /// let data = Dataset::open("random:4", [32, 32, 3], &Preprocess::default())?;
    /// assert_eq!(data.len(), 4);
    /// let image = data.get(0)?;
    /// assert_eq!((image.pixels.dim(), image.label), ((32, 32, 3), None));
    ///
    /// // A float network takes what `Preprocess` makes of the bytes: here, from 0 to 255.
    /// assert_eq!(data.batch(0..2)?[[1, 31, 31, 2]], f32::from(data.get(1)?.pixels[[31, 31, 2]]));
    ///
    /// let refused = Dataset::open("nowhere", [32, 32, 3], &Preprocess::default()).err().unwrap();
    /// assert!(refused.to_string().contains("nowhere"));
    /// # Ok::<(), brooklet_quantize::error::DataError>(())
    /// ```
    pub fn open(spec: &str, input: Shape, preprocess: &Preprocess) -> Result<Dataset, DataError> {
        let path = PathBuf::from(spec);
        let (source, classes) = Source::open(spec, &path, input, preprocess)
            .map_err(|problem| problem.in_file(&path))?;
        let preprocess = *preprocess;
        let dataset = Dataset { spec: path, source, classes, labelled: true, input, preprocess };
        if dataset.is_empty() {
            let detail = "holds no images".into();
            return Err(DataProblem::Data { detail }.in_file(&dataset.spec));
        }
        Ok(dataset)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Folder(files) => files.len(),
            Source::Cifar { records, .. } => *records,
            Source::Array { images, .. } => images.len_of(Axis(0)),
            Source::Random(count) => *count,
        }
    }

    /// Always false: an empty data set does not open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops classes, for a network that has no class for an image, because it ends in a map.
    pub fn drop_labels(&mut self) {
        (self.classes, self.labelled) = (None, false);
    }

    /// Names of the classes, if the data has them.
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// Name of an image: its file name, or the data's name and its index.
    pub fn name(&self, index: usize) -> String {
        match &self.source {
            Source::Folder(files) => files[index].0.display().to_string(),
            _ => format!("{}[{index}]", self.spec.display()),
        }
    }

    /// Image `index`, in the network's input size.
    ///
    /// # Panics
    ///
    /// If there is no such image.
    pub fn get(&self, index: usize) -> Result<Image, DataError> {
        assert!(index < self.len(), "image {index} of {}", self.len());
        let Image { pixels, label } = self.read(index)?;
        Ok(Image { pixels, label: label.filter(|_| self.labelled) })
    }

    fn read(&self, index: usize) -> Result<Image, DataError> {
        let wrong = |problem: DataProblem| problem.of_image(&self.spec, index);
        match &self.source {
            Source::Folder(files) => {
                let (path, label) = &files[index];
                let pixels = read_image(path, self.input, &self.preprocess)?;
                Ok(Image { pixels, label: *label })
            }
            Source::Cifar { file, .. } => {
                let (label, planes) = record(file, index).map_err(|error| wrong(error.into()))?;
                let pixels = Array3::from_shape_fn((32, 32, 3), |(y, x, channel)| {
                    planes[channel * 1024 + y * 32 + x]
                });
                let pixels = self.fit(pixels).map_err(wrong)?;
                Ok(Image { pixels, label: Some(label.into()) })
            }
            Source::Array { images, labels } => {
                let pixels = images.index_axis(Axis(0), index).to_owned();
                let pixels = self.fit(pixels).map_err(wrong)?;
                Ok(Image { pixels, label: labels.as_ref().map(|labels| labels[index]) })
            }
            Source::Random(_) => {
                let mut noise = Noise::new(index as u64);
                let [height, width, channels] = self.input;
                let pixels =
                    Array3::from_shape_simple_fn((height, width, channels), || noise.byte());
                Ok(Image { pixels, label: None })
            }
        }
    }

    /// Refuses labels of these images that a network of `classes` classes does not have.
    ///
    /// A network with one score has two classes.
    ///
    /// # Errors
    ///
    /// An error that names the first image with such a label.
    pub fn check_labels(&self, images: Range<usize>, classes: usize) -> Result<(), DataError> {
        let classes = classes.max(2);
        if self.is_noise() {
            return Ok(());
        }
        for index in images {
            let label = self.label(index)?;
            if let Some(label) = label.filter(|&label| label >= classes) {
                return Err(DataProblem::Label { label, classes }.of_image(&self.spec, index));
            }
        }
        Ok(())
    }

    /// The labels of all images, if they are known.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn labels(&self) -> Result<Vec<Option<usize>>, DataError> {
        (0..self.len()).map(|index| self.label(index)).collect()
    }

    fn label(&self, index: usize) -> Result<Option<usize>, DataError> {
        if !self.labelled {
            return Ok(None);
        }
        Ok(match &self.source {
            Source::Folder(files) => files[index].1,
            Source::Cifar { file, .. } => {
                let label = label_byte(file, index);
                Some(label.map_err(|error| DataProblem::from(error).in_file(&self.spec))?.into())
            }
            Source::Array { labels, .. } => labels.as_ref().map(|labels| labels[index]),
            Source::Random(_) => None,
        })
    }

    /// Whether the images are noise, from which nothing can be learned.
    pub fn is_noise(&self) -> bool {
        matches!(self.source, Source::Random(_))
    }

    /// Some images as a batch for a float network, `[images, height, width, channels]`.
    pub fn batch(
        &self,
        images: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Array4<f32>, DataError> {
        self.batch_with(images, &self.preprocess)
    }

    /// The same as [`batch`](Self::batch) with other means and deviations.
    ///
    /// # Errors
    ///
    /// An error for the first image that cannot be read.
    pub fn batch_with(
        &self,
        images: impl ExactSizeIterator<Item = usize>,
        preprocess: &Preprocess,
    ) -> Result<Array4<f32>, DataError> {
        let [height, width, channels] = self.input;
        let mut batch = Array4::zeros((images.len(), height, width, channels));
        for (index, mut place) in images.zip(batch.outer_iter_mut()) {
            place.assign(&normalized(preprocess, &self.get(index)?.pixels));
        }
        Ok(batch)
    }

    /// Numbers the class folders in the order of `names`, which are the network's classes.
    ///
    /// If no folder has one of these names, the folders keep their own order.
    ///
    /// # Errors
    ///
    /// An error that names a folder that is not a class, if other folders are.
    pub fn number_by(&mut self, names: &[String]) -> Result<(), DataError> {
        let (Source::Folder(files), Some(folders)) = (&mut self.source, &self.classes) else {
            return Ok(());
        };
        let places: Vec<Option<usize>> = folders
            .iter()
            .map(|folder| names.iter().position(|name| name.trim() == folder))
            .collect();
        if places.iter().all(Option::is_none) {
            return Ok(());
        }
        if let Some(stray) = places.iter().position(Option::is_none) {
            let folder = &folders[stray];
            let detail = format!("its folder `{folder}` is not one of the network's classes");
            return Err(DataProblem::Data { detail }.in_file(&self.spec));
        }
        for (_, label) in files {
            *label = label.and_then(|label| places[label]);
        }
        self.classes = Some(names.to_vec());
        Ok(())
    }

    /// Up to `count` images, spread over the whole of the data, since folders are sorted by class.
    pub fn spread(&self, count: usize) -> Vec<usize> {
        let count = count.min(self.len());
        (0..count).map(|index| index * self.len() / count).collect()
    }

    /// Pixels from memory, resized and cropped to the input.
    fn fit(&self, pixels: Array3<u8>) -> Result<Array3<u8>, DataProblem> {
        let (height, width, channels) = pixels.dim();
        let found = [height, width, channels];
        let reshapes = self.preprocess.resize.is_some() || self.preprocess.crop.is_some();
        if !reshapes && found == self.input {
            return Ok(pixels);
        }
        let raw = pixels.as_standard_layout().iter().copied().collect();
        let image = match channels {
            1 => image::GrayImage::from_raw(width as u32, height as u32, raw).map(Into::into),
            3 => RgbImage::from_raw(width as u32, height as u32, raw).map(Into::into),
            _ => None,
        };
        let image = image.ok_or(DataProblem::ImageSize { found, wanted: self.input })?;
        fit(&self.preprocess, image, self.input)
    }
}
