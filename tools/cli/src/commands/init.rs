//! `brooklet init`: a firmware project that runs a model.

mod templates;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use brooklet::{Feature, Model};
use brooklet_firmware::{Region, Registry, Spec, WeightsWindow};
use schemars::JsonSchema;
use serde::Serialize;

use super::fit::Verdict;
use super::plan::Window;
use super::{Output, bytes};
use crate::failure::{Result, failure};
use crate::report::schema::Reported;
use brooklet_files::{InputPath, OutputPath};
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_for;
use templates::{ASYNC, BY_DMA, CAMERA, Camera, MAPPED, Sensor, TEMPLATES, Template};

/// Options of `brooklet init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to make for the project. Its last part is the project's name.
    folder: String,
    /// The board.
    #[arg(long)]
    board: String,
    /// The model file, which becomes a part of the firmware.
    #[arg(long, value_name = "MODEL.brook")]
    model: InputPath,
    /// Runs the network as a task of embassy's executor. Another task captures rows meanwhile.
    #[arg(long = "async")]
    asynchronous: bool,
    /// Writes the capture of this camera, too, in a project with --async. Its registers and its
    /// pixels were tested on a host; no project has been run with a camera.
    #[arg(long, value_enum, default_value_t = Camera::None)]
    camera: Camera,
    /// Reads weights from flash by DMA into a window of this size in RAM, while the network runs.
    /// Half as much RAM again is for what is read ahead.
    #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with_all = ["asynchronous", "camera"])]
    weights_window: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The project's folder.
    folder: PathBuf,
    /// The board for which it was made.
    board: String,
    /// Whether it captures a camera's images; otherwise it makes test images.
    camera: bool,
    /// The firmware's file, which the build writes.
    firmware: PathBuf,
}

impl Reported for Report {
    const NAME: &str = "init";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        let camera = match self.camera {
            true => "src/main.rs names the camera's pins",
            false => "src/network.rs is the place for a camera",
        };
        writeln!(f, "{folder}: firmware for {}; {camera}", self.board)?;
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
        return Err(failure!(
            help = format!("boards that have a project: {}", boards(|_| true)),
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
            "`{name}` is not a valid package name"
        ));
    }
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(failure!(
            help = "name a new folder; nothing was written",
            "{}: is not empty",
            folder.display()
        ));
    }
    let file = ModelFile::open(&args.model)?;
    let whole = Spec {
        // Its weights are to be last in the file; how much is before them is checked below.
        weights_window: args
            .weights_window
            .map(|bytes| WeightsWindow { bytes, resident_bytes: u32::MAX }),
        ..whole_flash(spec)
    };
    let packed = packed_for(&whole, &file)?;
    let model = packed.as_ref().unwrap_or(&file);
    // The project has the features that the model needs, even if the board's own firmware lacks them.
    let able = Spec { int16: true, weights_window: None, ..whole.clone() };
    let verdict = Verdict::of_packed(&able, &model.model());
    if !verdict.fits {
        return Err(verdict.refused(&args.model, ""));
    }
    check_camera(args.camera, template, &model.model())?;
    if let Some(bytes) = args.weights_window {
        check_window(template, spec, model, bytes)?;
    }
    for (path, contents) in files(&registry, &whole, template, args, name, model) {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| {
            failure!(help = "check the path and its permissions", "{}: {error}", parent.display())
        })?;
        OutputPath::from(OsString::from(path)).write(&contents)?;
    }
    let firmware = folder.join("target").join(&spec.target).join("release").join(name);
    output.print(&Report {
        folder: folder.to_owned(),
        board: spec.name.clone(),
        camera: args.camera != Camera::None,
        firmware,
    })
}

/// The boards with such a template, by name.
fn boards(such: impl Fn(&Template) -> bool) -> String {
    let names = TEMPLATES.iter().filter(|template| such(template)).map(|template| template.board);
    names.collect::<Vec<_>>().join(", ")
}

/// Checks that the board's project can do something.
fn check_able(template: &Template, what: &str, able: impl Fn(&Template) -> bool) -> Result<()> {
    if able(template) {
        return Ok(());
    }
    Err(failure!(
        help = format!("boards whose project can: {}", boards(able)),
        "the project for {} cannot {what}",
        template.board
    ))
}

/// Checks that the board's project can have the camera, and that the network can see its images.
fn check_camera(camera: Camera, template: &Template, model: &Model<'_>) -> Result<()> {
    let Some(Sensor { size: [lines, pixels], .. }) = camera.sensor() else { return Ok(()) };
    check_able(template, "have a camera", |template| template.camera.is_some())?;
    let input = model.input();
    if input.rows > lines || input.columns > pixels || ![1, 3].contains(&input.channels) {
        return Err(failure!(
            help = "take a network with a smaller image, in grey or RGB",
            "a camera with {lines} lines of {pixels} pixels has no image of {input}"
        ));
    }
    Ok(())
}

/// Checks that the board's project can read weights by DMA, and that it has the RAM.
fn check_window(template: &Template, spec: &Spec, file: &ModelFile, bytes: u32) -> Result<()> {
    check_able(template, "read weights by DMA", |template| template.dma.is_some())?;
    let Window { bytes, resident_bytes, .. } = Window::new(file, bytes)?;
    let ahead = bytes / 2;
    let needed = file.model().arena_bytes() + resident_bytes + bytes + ahead;
    if needed > spec.arena_bytes as usize {
        return Err(failure!(
            help = "name a smaller window",
            "{}: {needed} bytes of RAM are needed ({resident_bytes} for the file up to the weights, {bytes} \
             for the window, {ahead} for what is read ahead, and the arena), and {} has {}",
            file.path().display(),
            spec.name,
            spec.arena_bytes
        ));
    }
    Ok(())
}

/// The board without a slot, since the model is a part of the firmware.
fn whole_flash(spec: &Spec) -> Spec {
    let nowhere = Region { address: spec.ram.address, bytes: spec.flash.bytes };
    Spec { slot: nowhere, ..spec.clone() }
}

/// The project's files.
fn files(
    registry: &Registry,
    spec: &Spec,
    template: &Template,
    args: &Args,
    name: &str,
    file: &ModelFile,
) -> Vec<(&'static str, Vec<u8>)> {
    let model = file.model();
    let needed = |feature: &Feature| model.layers().iter().any(|layer| feature.is_needed_by(layer));
    let features: Vec<&str> =
        Feature::ALL.into_iter().filter(needed).map(|feature| feature.name()).collect();
    let list = |features: &[&str]| {
        features.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    let sensor = args.camera.sensor();
    let asynchronous = args.asynchronous || sensor.is_some();
    let mut kernels = vec![spec.backend.as_str()];
    kernels.extend(asynchronous.then_some("async"));
    kernels.extend(args.weights_window.map(|_| "weights-window"));
    kernels.extend(&features);
    let brooklet = match registry.is_checkout() {
        true => format!("path = {:?}", registry.root()),
        false => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
    };
    let (variant, network, tasks, io, function) = match asynchronous {
        true => {
            let network = include_str!("../../templates/network_async.rs.txt");
            (&template.asynchronous, network, ASYNC, "embedded_io_async", "async ")
        }
        false => {
            let network = include_str!("../../templates/network.rs.txt");
            (&template.blocking, network, "", "embedded_io", "")
        }
    };
    let (main, network) = match (&sensor, template.camera) {
        (Some(_), Some(main)) => (main, include_str!("../../templates/network_camera.rs.txt")),
        _ => (variant.main, network),
    };
    let of_camera = sensor.as_ref().map(|sensor| [sensor.dependency, CAMERA].concat());
    // In QEMU a log goes to the host, on a chip to RAM, where a probe reads it.
    let (logger, version) = match &spec.qemu {
        Some(_) => ("defmt-semihosting", "0.4"),
        None => ("defmt-rtt", "1"),
    };
    let weights = if args.weights_window.is_some() { BY_DMA } else { MAPPED };
    let fill = |text: &str| {
        let fields = [
            ("name", name),
            ("brooklet", &brooklet),
            ("kernels", &list(&kernels)),
            ("features", &list(&features)),
            ("chip", variant.chip),
            ("tasks", tasks),
            ("executor", if sensor.is_some() { "\"executor-interrupt\", " } else { "" }),
            ("camera", of_camera.as_deref().unwrap_or("")),
            ("logger", logger),
            ("logger_module", &logger.replace('-', "_")),
            ("logger_version", version),
            ("io", io),
            ("async", function),
            ("window_bytes", &args.weights_window.unwrap_or(0).to_string()),
            ("rows", &model.input().rows.to_string()),
            ("columns", &model.input().columns.to_string()),
            ("channels", &model.input().channels.to_string()),
            ("row_bytes", &model.input().row_bytes().to_string()),
        ];
        let filled = weights
            .iter()
            .chain(&fields)
            .chain(template.fields)
            .fold(text.to_owned(), |text, (field, value)| {
                text.replace(&format!("{{{{{field}}}}}"), value)
            });
        filled.into_bytes()
    };
    let target = &spec.target;
    let config = format!("[build]\ntarget = \"{target}\"\n\n[env]\nDEFMT_LOG = \"info\"\n");
    let mut files = vec![
        ("Cargo.toml", fill(include_str!("../../templates/Cargo.toml.txt"))),
        ("build.rs", fill(include_str!("../../templates/build.rs.txt"))),
        ("memory.x", spec.memory_x().into_bytes()),
        (".cargo/config.toml", config.into_bytes()),
        (".gitignore", b"/target\n".to_vec()),
        ("net.brook", file.bytes().to_vec()),
        ("src/main.rs", fill(main)),
        ("src/network.rs", fill(network)),
    ];
    if let Some(sensor) = &sensor {
        files.extend([
            ("src/camera.rs", fill(include_str!("../../templates/camera.rs.txt"))),
            ("src/pixels.rs", fill(include_str!("../../templates/pixels.rs.txt"))),
            ("src/sensor.rs", fill(sensor.module)),
        ]);
    }
    if let (Some(_), Some(module)) = (args.weights_window, template.dma) {
        files.push(("src/weights.rs", fill(module)));
    }
    files.extend(template.more.iter().map(|(path, text)| (*path, fill(text))));
    files
}
