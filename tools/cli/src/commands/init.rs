//! `brooklet init`: a firmware project that runs a model.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use brooklet::Feature;
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
}

/// The parts of a project that depend on the board.
struct Template {
    board: &'static str,
    /// The project whose main function waits for the network.
    blocking: Variant,
    /// The project in which the network runs beside other tasks of an executor.
    asynchronous: Variant,
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
        fields: &[("board", "Raspberry Pi Pico 2"), ("image", IMAGE)],
        more: &[],
    },
];

/// Crates that an executor's tasks need.
const ASYNC: &str = "\
embassy-executor = { version = \"0.10\", features = [\"executor-thread\", \"platform-cortex-m\"] }
embassy-sync = \"0.8\"
embassy-time = \"0.5\"
embedded-io-async = \"0.7\"
heapless = \"0.9\"
";

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The project's folder.
    folder: PathBuf,
    /// The board for which it was made.
    board: String,
    /// The firmware's file, which the build writes.
    firmware: PathBuf,
}

impl Reported for Report {
    const NAME: &str = "init";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        writeln!(
            f,
            "{folder}: firmware for {}; src/network.rs is the place for a camera",
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
    for (path, contents) in files(&registry, &whole, template, args.asynchronous, name, model) {
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
    asynchronous: bool,
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
            ("logger", logger),
            ("logger_module", &logger.replace('-', "_")),
            ("logger_version", version),
            ("io", io),
            ("async", function),
            ("rows", &model.input().rows.to_string()),
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
        ("src/main.rs", fill(variant.main)),
        ("src/network.rs", fill(network)),
    ];
    files.extend(template.more.iter().map(|(path, text)| (*path, fill(text))));
    files
}
