//! Weights of layers from HDF5.

use std::collections::BTreeMap;

use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};
use ndarray::ArrayD;

use super::corrupt;
use crate::error::Problem;

/// Maximum nesting of groups.
const MOST_DEPTH: usize = 32;

/// An HDF5 file.
pub(super) struct File {
    file: Hdf5File,
    bytes: usize,
}

fn invalid(error: impl std::fmt::Display) -> Problem {
    corrupt(format!("as HDF5: {error}"))
}

impl File {
    pub(super) fn open(bytes: Vec<u8>) -> Result<Self, Problem> {
        let size = bytes.len();
        // Weights are not compressed, or only a little.
        let most = size.saturating_mul(64);
        let options =
            OpenOptions::default().with_max_read_bytes(most).with_max_object_header_bytes(most);
        let file = Hdf5File::from_vec_with_options(bytes, options).map_err(invalid)?;
        Ok(Self { file, bytes: size })
    }

    /// A text attribute of the root group.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<String>, Problem> {
        let root = self.file.root_group().map_err(invalid)?;
        let all = root.attributes().map_err(invalid)?;
        let found = all.into_iter().find(|attribute| attribute.name == name);
        found.map(|attribute| attribute.read_string().map_err(invalid)).transpose()
    }

    fn array(&self, dataset: &Dataset) -> Result<ArrayD<f32>, Problem> {
        let elements: u64 = dataset.shape().iter().product();
        if elements > (self.bytes as u64).saturating_mul(64) {
            return Err(corrupt("weights that are far larger than the file"));
        }
        match dataset.dtype() {
            Datatype::FloatingPoint { size: 4, .. } => dataset.read_array::<f32>().map_err(invalid),
            Datatype::FloatingPoint { size: 8, .. } => {
                let array = dataset.read_array::<f64>().map_err(invalid)?;
                Ok(array.mapv(|value| value as f32))
            }
            other => Err(Problem::ElementType { found: format!("{other:?}") }),
        }
    }
}

/// The structure in which a file stores weights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `.h5`: grouped by the network's layers, with weights named as in the layer.
    Legacy,
    /// `.keras`: grouped by class and number, with weights numbered.
    Archive,
}

/// The weights of a network.
pub(super) struct Store {
    file: File,
    kind: Kind,
    /// Paths of the weights in legacy files, by layer and name, grouped by layer of the network.
    legacy: BTreeMap<String, BTreeMap<(String, String), String>>,
}

/// The place of a layer's weights.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// In an archive the path; in a legacy file the layer of the network.
    pub(super) group: String,
    /// The layer's own name.
    pub(super) name: String,
}

impl Store {
    pub(super) fn new(file: File, kind: Kind) -> Self {
        Self { file, kind, legacy: BTreeMap::new() }
    }

    /// The place of a layer in a model at another place; it is the `number`th layer of its class
    /// there.
    pub(super) fn place(
        &self,
        model: Option<&Place>,
        class: &str,
        number: usize,
        name: &str,
    ) -> Place {
        let group = match (self.kind, model) {
            (Kind::Legacy, None) => name.to_owned(),
            (Kind::Legacy, Some(model)) => model.group.clone(),
            (Kind::Archive, _) => {
                let number = if number == 0 { String::new() } else { format!("_{number}") };
                let above = model.map_or(String::new(), |model| format!("{}/", model.group));
                format!("{above}layers/{}{number}", snake_case(class))
            }
        };
        Place { group, name: name.to_owned() }
    }

    /// The weight of a layer, by one of its names or its number; `None` if the layer does not have
    /// it.
    pub(super) fn find(
        &mut self,
        place: &Place,
        names: &[&str],
        number: usize,
    ) -> Result<Option<ArrayD<f32>>, Problem> {
        let path = match self.kind {
            Kind::Archive => Some(format!("{}/vars/{number}", place.group)),
            Kind::Legacy => {
                let known = self.legacy_paths(&place.group)?;
                let path = |name: &&str| known.get(&(place.name.clone(), (*name).to_owned()));
                names.iter().find_map(path).cloned()
            }
        };
        let Some(path) = path else { return Ok(None) };
        let Ok(dataset) = self.file.file.dataset(&path) else { return Ok(None) };
        self.file.array(&dataset).map(Some)
    }

    /// The weights in the group of a layer of the network.
    fn legacy_paths(
        &mut self,
        layer: &str,
    ) -> Result<&BTreeMap<(String, String), String>, Problem> {
        if !self.legacy.contains_key(layer) {
            let mut paths = BTreeMap::new();
            let mut open = vec![(format!("model_weights/{layer}"), 0)];
            while let Some((path, depth)) = open.pop() {
                let Ok(group) = self.file.file.group(&path) else { continue };
                let (groups, datasets) = group.member_names().map_err(invalid)?;
                if depth < MOST_DEPTH {
                    open.extend(groups.iter().map(|name| (format!("{path}/{name}"), depth + 1)));
                }
                // A layer's name may contain slashes, so each end of the path may be a name.
                let owners: Vec<&str> =
                    path.match_indices('/').map(|(at, _)| &path[at + 1..]).collect();
                for name in datasets {
                    let plain = name.split(':').next().unwrap_or(&name);
                    for owner in &owners {
                        let key = ((*owner).to_owned(), plain.to_owned());
                        paths.insert(key, format!("{path}/{name}"));
                    }
                }
            }
            self.legacy.insert(layer.to_owned(), paths);
        }
        Ok(&self.legacy[layer])
    }
}

/// A class's name in archives: `SeparableConv2D` is `separable_conv2d`.
pub(super) fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().collect();
    let mut name = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let lower = |at: usize| letters.get(at).is_some_and(|letter| letter.is_lowercase());
        if at > 0 && letter.is_uppercase() && (lower(at + 1) || lower(at - 1)) {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn classes_have_the_names_of_archives() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("SeparableConv2D", "separable_conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("PReLU", "p_re_lu"),
            ("Dense", "dense"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }
}
