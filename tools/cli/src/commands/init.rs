//! `brooklet init`: a firmware project that runs a model.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use brooklet::Feature;
use brooklet_firmware::{Region, Registry, Spec};
use serde::Serialize;

use super::Output;
use super::fit::Verdict;
use crate::failure::{Result, failure};
use brooklet_files::{InputPath, OutputPath};
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_for;

/// Options of `brooklet init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the project, which is made. Its last part is the project's name.
    folder: String,
    /// The board.
    #[arg(long)]
    board: String,
    /// The model file. It becomes a part of the firmware.
    #[arg(long, value_name = "MODEL.brook")]
    model: InputPath,
}

/// What a board's project has of its own.
struct Template {
    board: &'static str,
    /// Its dependencies.
    chip: &'static str,
    main: &'static str,
}

const TEMPLATES: [Template; 3] = [
    Template {
        board: "nucleo-f446re",
        chip: "embassy-stm32 = { version = \"0.6\", default-features = false, features = [\"rt\", \
               \"stm32f446re\"] }",
        main: include_str!("../../templates/nucleo-f446re.rs.txt"),
    },
    Template {
        board: "rpi-pico",
        chip: "rp2040-boot2 = \"0.3\"\nrp2040-hal = { version = \"0.12\", features = [\"rt\", \
               \"disable-intrinsics\"] }",
        main: include_str!("../../templates/rpi-pico.rs.txt"),
    },
    Template {
        board: "rpi-pico2",
        chip: "embassy-rp = { version = \"0.10\", features = [\"rp235xa\", \"time-driver\"] }",
        main: include_str!("../../templates/rpi-pico2.rs.txt"),
    },
];

#[derive(Debug, Serialize)]
struct Report {
    folder: PathBuf,
    board: String,
    /// What it writes.
    firmware: PathBuf,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        writeln!(
            f,
            "{folder}: firmware for {}; src/network.rs has the place for a camera",
            self.board
        )?;
        writeln!(
            f,
            "next: (cd {folder} && cargo build --release) makes {}",
            self.firmware.display()
        )
    }
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let registry = Registry::find()?;
    let spec = registry.board(&args.board)?;
    let Some(template) = TEMPLATES.iter().find(|template| template.board == spec.name) else {
        let known: Vec<&str> = TEMPLATES.iter().map(|template| template.board).collect();
        return Err(failure!(
            help = format!("boards that have one: {}", known.join(", ")),
            "there is no project for {}",
            spec.name
        ));
    };
    let folder = Path::new(&args.folder);
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return Err(failure!(
            help = "lower-case letters, digits and hyphens, such as my-camera",
            "`{name}` is no name of a package"
        ));
    }
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(failure!(
            help = "name a new folder; nothing was written",
            "{}: has files in it",
            folder.display()
        ));
    }
    let file = ModelFile::open(&args.model)?;
    let whole = whole_flash(spec);
    let packed = packed_for(&whole, &file)?;
    let model = packed.as_ref().unwrap_or(&file);
    // What the firmware needs is its features', not the board's.
    let verdict = Verdict::of_packed(&Spec { int16: true, ..whole.clone() }, &model.model());
    if !verdict.fits {
        return Err(verdict.refused(&args.model, ""));
    }
    for (path, contents) in files(&registry, &whole, template, name, model) {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| {
            failure!(help = "check the path and its permissions", "{}: {error}", parent.display())
        })?;
        OutputPath::from(OsString::from(path)).write(&contents)?;
    }
    let firmware = folder.join("target").join(&spec.target).join("release").join(name);
    output.print(&Report { folder: folder.to_owned(), board: spec.name.clone(), firmware })
}

/// The board without a slot: the model is a part of the firmware.
fn whole_flash(spec: &Spec) -> Spec {
    let nowhere = Region { address: spec.ram.address, bytes: spec.flash.bytes };
    Spec { slot: nowhere, ..spec.clone() }
}

/// The project's files.
fn files(
    registry: &Registry,
    spec: &Spec,
    template: &Template,
    name: &str,
    file: &ModelFile,
) -> Vec<(&'static str, Vec<u8>)> {
    let model = file.model();
    let needed = |feature: &Feature| model.layers().iter().any(|layer| feature.is_needed_by(layer));
    let features = Feature::ALL.into_iter().filter(needed);
    let features: Vec<String> = features.map(|feature| format!("\"{}\"", feature.name())).collect();
    let kernels = format!("\"{}\"", spec.backend);
    let separator = if features.is_empty() { "" } else { ", " };
    let brooklet = match registry.is_checkout() {
        true => format!("path = {:?}", registry.root()),
        false => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
    };
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{brooklet}}", &brooklet)
            .replace("{{kernels}}", &(kernels.clone() + separator))
            .replace("{{features}}", &features.join(", "))
            .replace("{{chip}}", template.chip)
            .replace("{{row_bytes}}", &model.input().row_bytes().to_string())
            .into_bytes()
    };
    let config = format!("[build]\ntarget = \"{}\"\n", spec.target);
    vec![
        ("Cargo.toml", fill(include_str!("../../templates/Cargo.toml.txt"))),
        ("build.rs", fill(include_str!("../../templates/build.rs.txt"))),
        ("memory.x", spec.memory_x().into_bytes()),
        (".cargo/config.toml", config.into_bytes()),
        (".gitignore", b"/target\n".to_vec()),
        ("net.brook", file.bytes().to_vec()),
        ("src/main.rs", fill(template.main)),
        ("src/network.rs", fill(include_str!("../../templates/network.rs.txt"))),
    ]
}
