//! The parts of a project that depend on its board and on its camera.

/// A camera of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Camera {
    /// OmniVision's, with colours: 320×240 pixels
    Ov7670,
    /// Himax's, in grey: 324×324 pixels
    Hm01b0,
    /// A test pattern
    None,
}

/// The parts of a project that depend on its camera.
pub(super) struct Sensor {
    /// Lines of an image, and pixels of a line.
    pub(super) size: [u16; 2],
    /// The crate of its registers.
    pub(super) dependency: &'static str,
    pub(super) module: &'static str,
}

impl Camera {
    pub(super) fn sensor(self) -> Option<Sensor> {
        match self {
            Self::Ov7670 => Some(Sensor {
                size: [240, 320],
                dependency: "ov7670 = \"0.1\"\n",
                module: include_str!("../../../templates/ov7670.rs.txt"),
            }),
            Self::Hm01b0 => Some(Sensor {
                size: [324, 324],
                dependency: "hm01b0 = \"0.1\"\n",
                module: include_str!("../../../templates/hm01b0.rs.txt"),
            }),
            Self::None => None,
        }
    }
}

/// The parts of a project that depend on the board.
pub(super) struct Template {
    pub(super) board: &'static str,
    /// The project whose main function waits for the network.
    pub(super) blocking: Variant,
    /// The project in which the network runs beside other tasks of an executor.
    pub(super) asynchronous: Variant,
    /// The main function of a project with a camera.
    pub(super) camera: Option<&'static str>,
    /// The module that reads weights by DMA.
    pub(super) dma: Option<&'static str>,
    /// Fields of the templates, and their texts.
    pub(super) fields: &'static [(&'static str, &'static str)],
    /// Further files.
    pub(super) more: &'static [(&'static str, &'static str)],
}

/// One of the two forms of a project.
pub(super) struct Variant {
    /// The chip's dependencies.
    pub(super) chip: &'static str,
    pub(super) main: &'static str,
}

/// The block that the boot ROM of an RP2350 looks for.
const IMAGE: &str = "\n\
/// What the boot ROM looks for in the first 4 KiB of the flash: secure code for the Cortex-M33.
#[unsafe(link_section = \".start_block\")]
#[used]
static IMAGE: embassy_rp::block::ImageDef = embassy_rp::block::ImageDef::secure_exe();
";

pub(super) const TEMPLATES: [Template; 4] = [
    Template {
        board: "nucleo-f446re",
        blocking: Variant {
            chip: "embassy-stm32 = { version = \"0.6\", default-features = false, features = \
                   [\"rt\", \"stm32f446re\"] }",
            main: include_str!("../../../templates/nucleo-f446re.rs.txt"),
        },
        asynchronous: Variant {
            chip: "embassy-stm32 = { version = \"0.6\", default-features = false, features = \
                   [\"rt\", \"stm32f446re\", \"time-driver-any\"] }",
            main: include_str!("../../../templates/nucleo-f446re_async.rs.txt"),
        },
        camera: None,
        dma: None,
        fields: &[],
        more: &[],
    },
    Template {
        board: "qemu-mps2-an386",
        blocking: Variant {
            chip: "vcell = \"0.1\"",
            main: include_str!("../../../templates/qemu-mps2-an386.rs.txt"),
        },
        asynchronous: Variant {
            chip: "embassy-time-driver = { version = \"0.2\", features = [\"tick-hz-1_000_000\"] }\n\
                   systick-timer = { version = \"0.2\", features = [\"embassy-time-driver\"] }\n\
                   vcell = \"0.1\"",
            main: include_str!("../../../templates/qemu-mps2-an386_async.rs.txt"),
        },
        camera: None,
        dma: None,
        fields: &[],
        more: &[("src/uart.rs", include_str!("../../../templates/uart.rs.txt"))],
    },
    Template {
        board: "rpi-pico",
        blocking: Variant {
            chip: "rp2040-boot2 = \"0.3\"\nrp2040-hal = { version = \"0.12\", features = [\"rt\", \
                   \"disable-intrinsics\"] }",
            main: include_str!("../../../templates/rpi-pico.rs.txt"),
        },
        asynchronous: Variant {
            chip: "embassy-rp = { version = \"0.10\", features = [\"rp2040\", \"time-driver\"] }",
            main: include_str!("../../../templates/rpi-pico_async.rs.txt"),
        },
        camera: Some(include_str!("../../../templates/rpi-pico_camera.rs.txt")),
        dma: Some(include_str!("../../../templates/rpi-pico_weights.rs.txt")),
        fields: &[("board", "Raspberry Pi Pico"), ("image", "")],
        more: &[],
    },
    Template {
        board: "rpi-pico2",
        blocking: Variant {
            chip: "embassy-rp = { version = \"0.10\", features = [\"rp235xa\", \"time-driver\"] }",
            main: include_str!("../../../templates/rpi-pico2.rs.txt"),
        },
        asynchronous: Variant {
            chip: "embassy-rp = { version = \"0.10\", features = [\"rp235xa\", \"time-driver\"] }",
            main: include_str!("../../../templates/rpi-pico_async.rs.txt"),
        },
        camera: Some(include_str!("../../../templates/rpi-pico_camera.rs.txt")),
        dma: None,
        fields: &[("board", "Raspberry Pi Pico 2"), ("image", IMAGE)],
        more: &[],
    },
];

/// Crates that an executor's tasks need.
pub(super) const ASYNC: &str = "\
embassy-executor = { version = \"0.10\", features = [{{executor}}\"executor-thread\", \"platform-cortex-m\"] }
embassy-sync = \"0.8\"
embassy-time = \"0.5\"
embedded-io-async = \"0.7\"
heapless = \"0.9\"
";

/// Crates that a camera's task needs.
pub(super) const CAMERA: &str = "embedded-hal = \"1\"\nzerocopy = \"0.8\"\n";

/// The parts of a blocking project that depend on where its weights are while it runs.
pub(super) const MAPPED: [(&str, &str); 9] = [
    (
        "uses",
        "use brooklet::{Arena, Model, Session, arena_bytes};
use embedded_io::Write;
use static_cell::ConstStaticCell;",
    ),
    ("statics", ""),
    ("parameter", ""),
    (
        "session",
        "    let Ok(model) = Model::parse(MODEL) else { unreachable!(\"the build has checked it\") };
    let Ok(mut session) = Session::new(&model, Native, ARENA.take()) else {
        unreachable!(\"the arena has the size that the model needs\")
    };
",
    ),
    ("after", ""),
    ("module", ""),
    ("dma", ""),
    ("argument", ""),
    ("zerocopy", ""),
];

/// [`MAPPED`], for weights that are read by DMA.
pub(super) const BY_DMA: [(&str, &str); 9] = [
    (
        "uses",
        "use brooklet::{Arena, Session, WeightsWindow, arena_bytes, resident_bytes};
use embedded_io::Write;
use rp2040_hal::dma::{CH0, Channel};
use static_cell::ConstStaticCell;

use crate::weights::ByDma;",
    ),
    (
        "statics",
        "
/// RAM for the part of the file before the weights.
static RESIDENT: ConstStaticCell<Arena<{ resident_bytes(MODEL) }>> =
    ConstStaticCell::new(Arena::new());

/// Size of the window for weights. In a larger window more weights stay, so fewer are read again.
pub const WINDOW_BYTES: usize = {{window_bytes}};

static WINDOW: ConstStaticCell<Arena<WINDOW_BYTES>> = ConstStaticCell::new(Arena::new());
",
    ),
    ("parameter", ", dma: Channel<CH0>"),
    (
        "session",
        "    let mut weights = WeightsWindow::new(ByDma::new(MODEL, dma), WINDOW.take());
    let model = match weights.parse(RESIDENT.take()) {
        Ok(model) => model,
        Err(error) => {
            // The window may be too small for another net.brook.
            let _ = writeln!(port, \"{error}\");
            loop {
                core::hint::spin_loop();
            }
        }
    };
    let Ok(mut session) = Session::with_weights(&model, Native, ARENA.take(), weights) else {
        unreachable!(\"the arena has the size that the model needs\")
    };
",
    ),
    (
        "after",
        "        let ahead = session.weights().source().percent_ahead();
        let _ = writeln!(port, \"{ahead} % of the weights were read ahead\");
",
    ),
    ("module", "mod weights;\n"),
    ("dma", "    let dma = hal::dma::DMAExt::split(chip.DMA, &mut chip.RESETS);\n"),
    ("argument", ", dma.ch0"),
    ("zerocopy", "zerocopy = \"0.8\"\n"),
];
