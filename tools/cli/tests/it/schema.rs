//! Reports as JSON match their schemas, and the schemas are those in `tests/golden/schemas`.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use boon::{Compiler, Schemas};
use brooklet_cli::commands::schema::{names, schema_of};
use serde_json::{Value, json};

use crate::desk::Desk;

fn schema(name: &str) -> Value {
    let text = schema_of(name).unwrap_or_else(|| panic!("there is no schema `{name}`"));
    serde_json::from_str(&text).unwrap()
}

/// What is wrong with a report by the schema that it names. Fields that are not in the schema are wrong, too.
fn problem(report: &Value) -> Option<String> {
    let id = report["schema"].as_str().unwrap_or_else(|| panic!("no schema in {report}"));
    let mut schema = schema(id.split_once('/').unwrap().0);
    schema["unevaluatedProperties"] = false.into();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("report.json", schema).unwrap();
    let index = compiler.compile("report.json", &mut schemas).unwrap();
    schemas.validate(report, index).err().map(|error| format!("{error:#}"))
}

/// Parses a report, and checks that it matches its schema.
pub(crate) fn checked(report: Value) -> Value {
    let problem = problem(&report);
    assert!(problem.is_none(), "{}\n{report:#}", problem.unwrap_or_default());
    report
}

/// The check finds missing fields, unknown fields, wrong types, and another version.
#[test]
fn other_reports_are_not_as_the_schema_says() {
    let desk = Desk::new();
    let report = desk.report("check tiny.brook");
    let changed = |field: &str, value: Value| {
        let mut report = report.clone();
        let fields = report.as_object_mut().unwrap();
        if value.is_null() {
            fields.remove(field)
        } else {
            fields.insert(field.into(), value)
        };
        problem(&report).unwrap_or_else(|| panic!("{field} may be {}", report[field]))
    };
    assert!(changed("crc", Value::Null).contains("crc"));
    assert!(changed("crc", json!("12")).contains("/crc"));
    assert!(changed("more", json!(1)).contains("more"));
    assert!(changed("schema", json!("check/2")).contains("/schema"));
}

/// Runs commands for each kind of report. `report` checks the results.
#[test]
fn every_report_is_as_its_schema_says() {
    let desk = Desk::new();
    for class in 0..10 {
        desk.write(&format!("data/{class}/1.png"), &desk.read("fits.png"));
    }
    // The key is that of other tests, so that firmware for it is built only once.
    desk.write("models.key", "5a".repeat(32).as_bytes());
    let board = "qemu-mps2-an386";
    desk.succeeds(&format!("plan tiny.brook --board {board} --in-place --quiet"));
    let sign = desk.report("sign tiny.brook --key models.key --counter 1 -o tiny.signed");
    desk.write("models.key.pub", sign["public_key"].as_str().unwrap().as_bytes());
    // The logits of this model are in range for a softmax.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny.brook");
    fs::copy(golden, desk.path("golden.brook")).unwrap();
    let calibrate = "--calibrate random:4 --effort fast";
    let lines = [
        "boards".to_owned(),
        "check tiny.brook".to_owned(),
        "compare tiny.onnx tiny.brook random:8".to_owned(),
        "doctor tiny.onnx data".to_owned(),
        "eval tiny.brook data".to_owned(),
        "export tiny.brook -o exported.onnx --compare random:4".to_owned(),
        "fit tiny.brook".to_owned(),
        format!("fit tiny.onnx --calibrate random:4 --effort fast --board {board}"),
        format!("inspect tiny.brook --board {board}"),
        format!("init project --board {board} --model tiny.brook"),
        "key new new.key".to_owned(),
        "new resnet8 -o new.safetensors".to_owned(),
        format!("plan tiny.brook --board {board} --weights-window 4K"),
        format!("quantize tiny.onnx {calibrate} --board {board} --stream auto -o a.brook"),
        format!("quantize tiny.onnx {calibrate} --board {board} --int16 auto -o a.brook"),
        "ensemble golden.brook golden.brook -o both.brook".to_owned(),
        "report tiny.onnx tiny.brook random:4 -o report.html".to_owned(),
        "run tiny.brook fits.png".to_owned(),
        format!("flash tiny.brook --board {board} --run fits.png --check"),
        format!("flash tiny.brook --board {board} --dry-run"),
        format!("bench tiny.brook --board {board} --cycles"),
        format!("push tiny.signed --board {board} --key models.key.pub"),
    ];
    let mut seen = BTreeSet::from([sign["schema"].as_str().unwrap().to_owned()]);
    for line in lines {
        let report = desk.report(&format!("{line} --quiet"));
        seen.insert(report["schema"].as_str().unwrap().to_owned());
    }
    let listed: BTreeSet<String> = desk.succeeds("schema").lines().map(str::to_owned).collect();
    assert_eq!(seen, listed);
    assert_eq!(listed.len(), names().count());
    let printed: Value = serde_json::from_str(&desk.succeeds("schema bench")).unwrap();
    assert_eq!(printed, schema("bench"));
    desk.refuses("schema nothing", &["bench, boards"]);
}

/// This test shows every change of a report. If a change removes a field or gives it another meaning, the
/// report needs a new version (`Reported::VERSION`).
#[test]
fn schemas_are_those_that_are_known() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/schemas");
    let bless = env::var_os("BROOKLET_BLESS").is_some();
    let mut known = BTreeSet::new();
    for name in names() {
        let path = folder.join(format!("{name}.json"));
        let text = schema_of(name).unwrap() + "\n";
        if bless {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == text,
            "{name}: the schema is not that of {}: where that is meant, BROOKLET_BLESS=1 writes it anew",
            path.display()
        );
        known.insert(path.file_name().unwrap().to_owned());
    }
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(files.collect::<BTreeSet<_>>(), known);
}

/// Fields without a description.
fn unsaid(schema: &Value, at: &str, found: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            found.push(at.clone());
        }
        unsaid(field, &at, found);
    }
    for (name, schema) in schema["$defs"].as_object().into_iter().flatten() {
        unsaid(schema, &format!("{at}#{name}"), found);
    }
}

#[test]
fn every_field_is_explained() {
    let mut found = Vec::new();
    names().for_each(|name| unsaid(&schema(name), name, &mut found));
    assert_eq!(found, [""; 0]);
}
