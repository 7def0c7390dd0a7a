//! `brooklet init`: a firmware project that runs a model.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use brooklet::{Feature, Model};
use brooklet_firmware::{Region, Registry, Spec};
use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use super::fit::Verdict;
use crate::failure::{Result, failure};
use crate::report::schema::Reported;
use brooklet_files::{InputPath, OutputPath};
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_for;

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
}

/// A camera of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Camera {
    /// OmniVision's, with colours: 320×240 pixels
    Ov7670,
    /// Himax's, in grey: 324×324 pixels
    Hm01b0,
    /// A test pattern
    None,
}

/// The parts of a project that depend on its camera.
struct Sensor {
    /// Lines of an image, and pixels of a line.
    size: [u16; 2],
    /// The crate of its registers.
    dependency: &'static str,
    module: &'static str,
}

impl Camera {
    fn sensor(self) -> Option<Sensor> {
        match self {
            Self::Ov7670 => Some(Sensor {
                size: [240, 320],
                dependency: "ov7670 = \"0.1\"\n",
                module: include_str!("../../templates/ov7670.rs.txt"),
            }),
            Self::Hm01b0 => Some(Sensor {
                size: [324, 324],
                dependency: "hm01b0 = \"0.1\"\n",
                module: include_str!("../../templates/hm01b0.rs.txt"),
            }),
            Self::None => None,
        }
    }
}

/// The parts of a project that depend on the board.
struct Template {
    board: &'static str,
    /// The project whose main function waits for the network.
    blocking: Variant,
    /// The project in which the network runs beside other tasks of an executor.
    asynchronous: Variant,
    /// The main function of a project with a camera.
    camera: Option<&'static str>,
    /// Fields of the templates, and their texts.
    fields: &'static [(&'static str, &'static str)],
    /// Further files.
    more: &'static [(&'static str, &'static str)],
}

/// One of the two forms of a project.
struct Variant {
    /// The chip's dependencies.
    chip: &'static str,
    main: &'static str,
}

/// The block that the boot ROM of an RP2350 looks for.
const IMAGE: &str = "\n\
/// What the boot ROM looks for in the first 4 KiB of the flash: secure code for the Cortex-M33.
#[unsafe(link_section = \".start_block\")]
#[used]
static IMAGE: embassy_rp::block::ImageDef = embassy_rp::block::ImageDef::secure_exe();
";

const TEMPLATES: [Template; 4] = [
    Template {
        board: "nucleo-f446re",
        blocking: Variant {
            chip: "embassy-stm32 = { version = \"0.6\", default-features = false, features = \
                   [\"rt\", \"stm32f446re\"] }",
            main: include_str!("../../templates/nucleo-f446re.rs.txt"),
        },
        asynchronous: Variant {
            chip: "embassy-stm32 = { version = \"0.6\", default-features = false, features = \
                   [\"rt\", \"stm32f446re\", \"time-driver-any\"] }",
            main: include_str!("../../templates/nucleo-f446re_async.rs.txt"),
        },
        camera: None,
        fields: &[],
        more: &[],
    },
    Template {
        board: "qemu-mps2-an386",
        blocking: Variant {
            chip: "vcell = \"0.1\"",
            main: include_str!("../../templates/qemu-mps2-an386.rs.txt"),
        },
        asynchronous: Variant {
            chip: "embassy-time-driver = { version = \"0.2\", features = [\"tick-hz-1_000_000\"] }\n\
                   systick-timer = { version = \"0.2\", features = [\"embassy-time-driver\"] }\n\
                   vcell = \"0.1\"",
            main: include_str!("../../templates/qemu-mps2-an386_async.rs.txt"),
        },
        camera: None,
        fields: &[],
        more: &[("src/uart.rs", include_str!("../../templates/uart.rs.txt"))],
    },
    Template {
        board: "rpi-pico",
        blocking: Variant {
            chip: "rp2040-boot2 = \"0.3\"\nrp2040-hal = { version = \"0.12\", features = [\"rt\", \
                   \"disable-intrinsics\"] }",
            main: include_str!("../../templates/rpi-pico.rs.txt"),
        },
        asynchronous: Variant {
            chip: "embassy-rp = { version = \"0.10\", features = [\"rp2040\", \"time-driver\"] }",
            main: include_str!("../../templates/rpi-pico_async.rs.txt"),
        },
        camera: Some(include_str!("../../templates/rpi-pico_camera.rs.txt")),
        fields: &[("board", "Raspberry Pi Pico"), ("image", "")],
        more: &[],
    },
    Template {
        board: "rpi-pico2",
        blocking: Variant {
            chip: "embassy-rp = { version = \"0.10\", features = [\"rp235xa\", \"time-driver\"] }",
            main: include_str!("../../templates/rpi-pico2.rs.txt"),
        },
        asynchronous: Variant {
            chip: "embassy-rp = { version = \"0.10\", features = [\"rp235xa\", \"time-driver\"] }",
            main: include_str!("../../templates/rpi-pico_async.rs.txt"),
        },
        camera: Some(include_str!("../../templates/rpi-pico_camera.rs.txt")),
        fields: &[("board", "Raspberry Pi Pico 2"), ("image", IMAGE)],
        more: &[],
    },
];

/// Crates that an executor's tasks need.
const ASYNC: &str = "\
embassy-executor = { version = \"0.10\", features = [{{executor}}\"executor-thread\", \"platform-cortex-m\"] }
embassy-sync = \"0.8\"
embassy-time = \"0.5\"
embedded-io-async = \"0.7\"
heapless = \"0.9\"
";

/// Crates that a camera's task needs.
const CAMERA: &str = "embedded-hal = \"1\"\nzerocopy = \"0.8\"\n";

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
        let known: Vec<&str> = TEMPLATES.iter().map(|template| template.board).collect();
        return Err(failure!(
            help = format!("boards that have a project: {}", known.join(", ")),
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
    let whole = whole_flash(spec);
    let packed = packed_for(&whole, &file)?;
    let model = packed.as_ref().unwrap_or(&file);
    // The project has the features that the model needs, even if the board's own firmware lacks them.
    let verdict = Verdict::of_packed(&Spec { int16: true, ..whole.clone() }, &model.model());
    if !verdict.fits {
        return Err(verdict.refused(&args.model, ""));
    }
    check_camera(args.camera, template, &model.model())?;
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

/// Checks that the board's project can have the camera, and that the network can see its images.
fn check_camera(camera: Camera, template: &Template, model: &Model<'_>) -> Result<()> {
    let Some(Sensor { size: [lines, pixels], .. }) = camera.sensor() else { return Ok(()) };
    if template.camera.is_none() {
        let able = TEMPLATES.iter().filter(|template| template.camera.is_some());
        let able: Vec<&str> = able.map(|template| template.board).collect();
        return Err(failure!(
            help = format!("boards whose project can have a camera: {}", able.join(", ")),
            "there is no camera for {}",
            template.board
        ));
    }
    let input = model.input();
    if input.rows > lines || input.columns > pixels || ![1, 3].contains(&input.channels) {
        return Err(failure!(
            help = "take a network with a smaller image, in grey or RGB",
            "a camera with {lines} lines of {pixels} pixels has no image of {input}"
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
            ("rows", &model.input().rows.to_string()),
            ("columns", &model.input().columns.to_string()),
            ("channels", &model.input().channels.to_string()),
            ("row_bytes", &model.input().row_bytes().to_string()),
        ];
        let filled =
            fields.iter().chain(template.fields).fold(text.to_owned(), |text, (field, value)| {
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
    files.extend(template.more.iter().map(|(path, text)| (*path, fill(text))));
    files
}
