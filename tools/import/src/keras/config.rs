//! A layer's configuration.

use serde_json::Value;

use super::corrupt;
use crate::error::{Problem, unsupported};
use crate::network::MAX_EXTENT;

/// A layer in the network's configuration.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    /// Its class, without the module.
    pub(super) class: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Its own configuration.
    pub(super) config: &'a Value,
    /// Its whole entry.
    pub(super) value: &'a Value,
}

impl<'a> Layer<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Problem> {
        let text = |value: &'a Value, key: &str| value.get(key).and_then(Value::as_str);
        let class = text(value, "class_name").ok_or_else(|| corrupt("a layer without a class"))?;
        let class = class.rsplit('>').next().unwrap_or(class);
        let config = &value["config"];
        // In Keras 1 the configuration of a Sequential is a list of layers.
        let name = text(value, "name").or_else(|| text(config, "name")).unwrap_or(class);
        Ok(Self { class, name, config, value })
    }

    /// The name under which it was registered, if it is not one of Keras.
    pub(super) fn registered(&self) -> Option<&'a str> {
        let registered = self.value.get("registered_name").and_then(Value::as_str);
        registered.filter(|name| name.contains('>') && !name.starts_with("keras"))
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.config.get(key).and_then(Value::as_str)
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.config.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    pub(super) fn number(&self, key: &str) -> Option<f32> {
        number(self.config.get(key)?)
    }

    /// One number, or one per channel.
    pub(super) fn numbers(&self, key: &str) -> Option<Vec<f32>> {
        let value = self.config.get(key)?;
        if let Some(one) = number(value) {
            return Some(vec![one]);
        }
        let mut flat = Vec::new();
        flatten(value, &mut flat)?;
        Some(flat)
    }

    /// A whole number.
    pub(super) fn extent(&self, key: &str, default: usize) -> Result<usize, Problem> {
        match self.config.get(key).filter(|value| !value.is_null()) {
            Some(value) => extent(value).ok_or_else(|| wrong(key, value)),
            None => Ok(default),
        }
    }

    /// A value for rows and one for columns, from a list with one value per dimension of the layer.
    pub(super) fn pair(
        &self,
        key: &str,
        dimensions: usize,
        default: usize,
    ) -> Result<[usize; 2], Problem> {
        let Some(value) = self.config.get(key).filter(|value| !value.is_null()) else {
            return Ok(if dimensions == 2 { [default; 2] } else { [1, default] });
        };
        let all: Option<Vec<usize>> = match value {
            Value::Array(values) => values.iter().map(extent).collect(),
            one => extent(one).map(|one| vec![one; dimensions]),
        };
        match (all.as_deref(), dimensions) {
            (Some(&[rows, columns]), 2) => Ok([rows, columns]),
            // A layer with one dimension uses the width.
            (Some(&[columns]), 1) => Ok([1, columns]),
            _ => Err(wrong(key, value)),
        }
    }

    /// Refuses layouts other than rows, columns, channels.
    pub(super) fn require_channels_last(&self) -> Result<(), Problem> {
        match self.text("data_format") {
            Some("channels_first") => Err(unsupported(
                "reads channels before rows (`data_format=\"channels_first\"`)",
                "build the network with channels last",
            )),
            _ => Ok(()),
        }
    }

    /// An activation, or another object that is given by class and configuration.
    pub(super) fn object(value: &'a Value) -> Option<Layer<'a>> {
        value.is_object().then(|| Layer::of(value).ok()).flatten()
    }
}

fn flatten(value: &Value, flat: &mut Vec<f32>) -> Option<()> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| flatten(value, flat)),
        Value::Object(object) => flatten(object.get("config")?.get("value")?, flat),
        one => {
            flat.push(number(one)?);
            Some(())
        }
    }
}

pub(super) fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32)
}

fn extent(value: &Value) -> Option<usize> {
    let extent = value.as_u64().and_then(|extent| usize::try_from(extent).ok());
    extent.filter(|&extent| extent <= MAX_EXTENT)
}

fn wrong(key: &str, value: &Value) -> Problem {
    corrupt(format!("`{key}` is {value}"))
}
