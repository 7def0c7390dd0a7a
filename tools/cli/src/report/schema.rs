//! Reports as JSON. Each report names its schema, which has a version.

use std::fmt::Display;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;

/// A report that a command prints, for people or as JSON.
pub(crate) trait Reported: Serialize + Display + JsonSchema {
    /// The name of its schema. It is the command's name, unless a command has several reports.
    const NAME: &str;
    /// Increased when a field is removed or changes its meaning. A new field does not change it.
    const VERSION: u32 = 1;
}

/// Name and version, as reports have them: `run/1`.
pub(crate) fn id<T: Reported>() -> String {
    format!("{}/{}", T::NAME, T::VERSION)
}

/// A report with the name of its schema.
#[derive(Serialize)]
struct Named<'r, T> {
    schema: String,
    #[serde(flatten)]
    report: &'r T,
}

/// A report as JSON.
pub(crate) fn json<T: Reported>(report: &T) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Named { schema: id::<T>(), report })
}

/// The schema of a report, by draft 2020-12 of JSON Schema.
pub(crate) fn of<T: Reported>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    let id = id::<T>();
    schema.insert("title".to_owned(), id.clone().into());
    let object = schema.ensure_object();
    let properties = object.entry("properties").or_insert_with(|| serde_json::json!({}));
    if let Some(properties) = properties.as_object_mut() {
        let schema = serde_json::json!({
            "description": "Name and version of this schema.",
            "const": id,
        });
        properties.insert("schema".to_owned(), schema);
    }
    let required = object.entry("required").or_insert_with(|| serde_json::json!([]));
    if let Some(required) = required.as_array_mut() {
        required.insert(0, "schema".into());
    }
    schema
}
