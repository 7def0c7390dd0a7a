//! A layer's configuration.

use serde_json::Value;

use super::corrupt;
use crate::error::{Problem, unsupported};
use crate::network::MAX_EXTENT;

/// A layer as the network's configuration has it.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    /// Its class, without the module.
    pub(super) class: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Its own configuration.
    pub(super) config: &'a Value,
    /// All that is said of it.
    pub(super) value: &'a Value,
}

impl<'a> Layer<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Problem> {
        let text = |value: &'a Value, key: &str| value.get(key).and_then(Value::as_str);
        let class = text(value, "class_name").ok_or_else(|| corrupt("a layer without a class"))?;
        let class = class.rsplit('>').next().unwrap_or(class);
        let config = &value["config"];
        // A Sequential of Keras 1 is its list of layers.
        let name = text(value, "name").or_else(|| text(config, "name")).unwrap_or(class);
        Ok(Self { class, name, config, value })
    }

    /// Whether it comes from outside of Keras.
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

    /// One number, or one a channel.
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

    /// A value for rows and one for columns, of a list of as many as the layer has dimensions.
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
            // Along the width.
            (Some(&[columns]), 1) => Ok([1, columns]),
            _ => Err(wrong(key, value)),
        }
    }

    /// Refuses what is laid out in another way than rows, columns, channels.
    pub(super) fn require_channels_last(&self) -> Result<(), Problem> {
        match self.text("data_format") {
            Some("channels_first") => Err(unsupported(
                "reads channels before rows (`data_format=\"channels_first\"`)",
                "build the network with channels last",
            )),
            _ => Ok(()),
        }
    }

    /// The class of an activation, or another object that is given by its configuration.
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
