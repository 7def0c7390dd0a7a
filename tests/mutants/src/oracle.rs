//! The checks of a model file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use brooklet::format::{Operator, crc};
#[cfg(target_arch = "x86_64")]
use brooklet::kernels::{Avx2, Avx512Vnni};
use brooklet::kernels::{Backend, Portable, Reference};
use brooklet::{ARENA_ALIGN, Error, Model, SelfTest, Session, Verification};
use rustix::time::{ClockId, clock_gettime};

use crate::draft::Draft;
use crate::guarded::Guarded;
use crate::invariants;
use crate::random::Random;

/// Maximum number of bytes of an arena that is run.
const LARGEST_ARENA: usize = 1 << 20;
/// Maximum number of products and other operations that are run.
const MOST_WORK: u128 = 4 << 20;
/// Maximum number of bytes of an arena that is run with every row in a place of its own.
const LARGEST_APART: usize = 4 << 20;
/// Maximum number of bytes of a file that is placed beside a guard.
const LARGEST_FILE: usize = 4 << 20;

/// The time that parsing may always take,
const PARSE_AT_LEAST: Duration = Duration::from_millis(20);
/// plus this for each byte of the file,
const PARSE_A_BYTE: Duration = Duration::from_nanos(200);
/// plus this for each row of all layers. This is about ten times the time in a build with all
/// checks.
const PARSE_A_ROW: Duration = Duration::from_micros(5);

/// The verdict on a model file. It is the same on every computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is refused.
    Refused(Error),
    /// It is accepted, but too large to be run here.
    TooLarge,
    /// It ran.
    Ran {
        /// The checksum of its results.
        crc: u32,
        /// What the results were compared with.
        compared: Compared,
    },
}

/// What a run was compared with, besides the reference with two poisons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Number of backends of this computer that run its packings.
    pub backends: usize,
    /// Whether the same network was run with every row in a place of its own.
    pub apart: bool,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused {error:?}"),
            Self::TooLarge => f.write_str("accepted"),
            Self::Ran { crc, .. } => write!(f, "ran {crc:08x}"),
        }
    }
}

/// Judges model files.
#[derive(Debug)]
pub struct Oracle {
    file: Guarded,
    arena: Guarded,
}

impl Default for Oracle {
    fn default() -> Self {
        Self::new()
    }
}

/// Logits and all outputs of an image, as they lie in memory.
type Answer = [Vec<u8>; 2];

/// The results of a run: those for two images, and the verdict on the test images in the file.
type Outcome = ([Answer; 2], SelfTest);

/// The guard that the arena touches.
#[derive(Debug, Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl Oracle {
    /// An oracle.
    pub fn new() -> Self {
        Self { file: Guarded::new(LARGEST_FILE), arena: Guarded::new(LARGEST_APART) }
    }

    /// Judges a file.
    ///
    /// # Errors
    ///
    /// What it does that no file may do: a panic, more time than allowed, or results that depend on
    /// old contents of the arena, on the backend, or on the places of rows. Access to memory around
    /// arena or file ends the program.
    pub fn judge(&mut self, file: &[u8]) -> Result<Verdict, String> {
        catch_unwind(AssertUnwindSafe(|| self.judge_unguarded(file))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("a panic: {}", text.unwrap_or("without a message")))
        })
    }

    fn judge_unguarded(&mut self, bytes: &[u8]) -> Result<Verdict, String> {
        let memory = self.file.bytes();
        let file = match memory.len().checked_sub(bytes.len()) {
            Some(start) => {
                memory[start..].copy_from_slice(bytes);
                &memory[start..]
            }
            None => bytes,
        };
        in_time(file)?;
        let model = match Model::parse(file) {
            Ok(model) => model,
            Err(error) => {
                // The reader of the message must be able to read it.
                let length = error.to_string().len();
                return if length < 400 {
                    Ok(Verdict::Refused(error))
                } else {
                    Err(format!("an error of {length} bytes"))
                };
            }
        };
        invariants::hold(&model)?;
        texts(&model);
        if model.arena_bytes() > LARGEST_ARENA || work(&model) > MOST_WORK {
            return Ok(Verdict::TooLarge);
        }
        let images = images(&model, crc(bytes));
        let mut compared = Compared::default();
        let expected =
            run(&model, Reference, &mut self.arena, Side::Left, 0xa5, [&images[0], &images[1]])?
                .ok_or("the reference does not run it")?;
        let is_expected = |name: &str, outcome: Option<Outcome>| match outcome {
            Some(outcome) if outcome != expected => Err(format!("{name}: other bytes")),
            Some(_) => Ok(1),
            None => Ok(0),
        };
        // In the other order, because what an image leaves behind must not matter either.
        let answers =
            run(&model, Reference, &mut self.arena, Side::Right, 0x5a, [&images[1], &images[0]])?;
        is_expected(
            "reference, poisoned otherwise",
            answers.map(|([a, b], self_test)| ([b, a], self_test)),
        )?;
        let both = [&images[0], &images[1]];
        let answers = run(&model, Portable, &mut self.arena, Side::Right, 0x81, both)?;
        compared.backends += is_expected("portable", answers)?;
        #[cfg(target_arch = "x86_64")]
        if let Some(backend) = Avx2::detect() {
            let answers = run(&model, backend, &mut self.arena, Side::Left, 0x7e, both)?;
            compared.backends += is_expected("avx2", answers)?;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(backend) = Avx512Vnni::detect() {
            let answers = run(&model, backend, &mut self.arena, Side::Right, 0x11, both)?;
            compared.backends += is_expected("avx512-vnni", answers)?;
        }
        let (apart, arena) = Draft::apart(file);
        if arena <= LARGEST_APART as u64 {
            let apart = apart.sealed();
            let model = Model::parse(&apart)
                .map_err(|error| format!("with rows apart it is refused: {error}"))?;
            let answers = run(&model, Reference, &mut self.arena, Side::Left, 0xff, both)?;
            compared.apart = is_expected("with rows apart", answers)? == 1;
        }
        let all = expected.0.as_flattened().concat();
        Ok(Verdict::Ran { crc: crc(&all), compared })
    }
}

/// Whether parsing ends in time, measured in this thread's time, because the computer may be busy.
/// If it is late, it gets two more chances.
fn in_time(file: &[u8]) -> Result<(), String> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let rows: u32 = Draft(file.to_vec()).layers().iter().map(|l| u32::from(l.rows.get())).sum();
    let bytes = PARSE_A_BYTE.saturating_mul(file.len() as u32);
    let allowed = PARSE_AT_LEAST + bytes + PARSE_A_ROW.saturating_mul(rows);
    let mut took = Duration::MAX;
    for _ in 0..3 {
        let start = now();
        let _ = Model::parse(file);
        took = took.min(now().saturating_sub(start));
        if took <= allowed {
            return Ok(());
        }
    }
    Err(format!("parsing takes {took:?}: {} bytes and {rows} rows have {allowed:?}", file.len()))
}

/// Reads what running does not need.
fn texts(model: &Model<'_>) {
    let _ = model.check_text();
    for layer in 0..model.layers().len() {
        let _ = model.name(layer);
    }
    for class in [0, 1, usize::MAX] {
        let _ = model.label(class);
    }
    let _ = (model.preprocessing().copied(), model.logits_quantization());
}

/// Approximate number of operations for an image.
fn work(model: &Model<'_>) -> u128 {
    let all = |layer: usize| {
        let record = model.layer(layer);
        let numbers = |shape: brooklet::Shape| {
            u128::from(shape.rows) * u128::from(shape.columns) * u128::from(shape.channels)
        };
        let kernel: u128 = record.kernel.map(u128::from).iter().product();
        let (input, output) = (model.input_of(record).shape(), record.shape());
        numbers(input)
            + numbers(output)
                * match record.operator() {
                    Operator::Conv | Operator::GroupedConv => kernel * u128::from(input.channels),
                    operator if operator.has_window() => kernel,
                    _ => 1,
                }
    };
    (0..model.layers().len()).map(all).sum()
}

/// Two images for a network.
fn images(model: &Model<'_>, seed: u32) -> [Vec<u8>; 2] {
    let mut random = Random::new(seed.into());
    let bytes = model.input().bytes();
    [random.bytes(bytes), random.bytes(bytes)]
}

/// Runs two images, and the test images in the file, on a backend in an arena full of `poison`;
/// `None` if the backend does not run the packings.
fn run(
    model: &Model<'_>,
    backend: impl Backend,
    arena: &mut Guarded,
    side: Side,
    poison: u8,
    images: [&Vec<u8>; 2],
) -> Result<Option<Outcome>, String> {
    /// Number of bytes that are checked on the side without a guard.
    const MARGIN: usize = 256;
    const OUTSIDE: u8 = 0xc3;
    let needed = model.arena_bytes();
    let memory = arena.bytes();
    let room = needed.next_multiple_of(ARENA_ALIGN);
    let start = match side {
        Side::Left => 0,
        Side::Right => memory.len() - room,
    };
    let around = start.saturating_sub(MARGIN)..(start + room + MARGIN).min(memory.len());
    memory[around.clone()].fill(OUTSIDE);
    let bytes = &mut memory[start..start + needed];
    bytes.fill(poison);
    let mut session = match Session::new(model, backend, bytes) {
        Ok(session) => session,
        Err(Error::Packing { .. }) => return Ok(None),
        Err(error) => return Err(format!("no session: {error}")),
    };
    let answers = images.map(|image| {
        session.reset();
        for row in image.chunks(model.input().row_bytes()) {
            session.push_row(row).expect("a row of the right length");
        }
        let is_vector = session.logits().is_ok();
        assert_eq!(is_vector, !model.ends_in_map());
        let logits = session.logits_map().expect("all rows are there");
        for ([y, x], cell) in logits.cells() {
            assert!(cell.top_k::<3>().len() <= 3);
            assert_eq!(cell.len(), model.classes());
            assert!(logits.cell(y, x).is_some_and(|same| same.scores().eq(cell.scores())));
        }
        let logits = logits.rows().collect::<Vec<_>>().concat();
        let outputs = session.outputs().expect("all rows are there");
        [logits, outputs.flat_map(|(_, map)| map.rows()).collect::<Vec<_>>().concat()]
    });
    if session.verify_all() != Verification::Verified {
        return Err("the file is unchanged, but a session reports a change".to_owned());
    }
    let self_test = session.self_test();
    let mut outside = memory[around.start..start].iter().chain(&memory[start + needed..around.end]);
    if outside.all(|&byte| byte == OUTSIDE) {
        Ok(Some((answers, self_test)))
    } else {
        Err("bytes outside of the arena were changed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the format's documentation: 1×1 pixel, and a convolution.
    fn example() -> Vec<u8> {
        let text = include_str!("../../../src/format/example.hex");
        let bytes = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .flat_map(|(_, rest)| rest.split('|').next().unwrap_or("").split_whitespace());
        bytes.map(|byte| u8::from_str_radix(byte, 16).expect("it is hexadecimal")).collect()
    }

    #[test]
    fn what_depends_on_old_contents_is_found() {
        /// A backend with one mistake: it fills the row, whatever is asked for, and reads its old
        /// contents.
        struct Careless(bool);
        impl Backend for Careless {
            const ISA: &'static brooklet::kernels::Isa = &brooklet::kernels::Isa::PORTABLE;
            fn runs(&self, _: brooklet::format::Packing) -> bool {
                self.0
            }
            fn conv(
                &self,
                _: &brooklet::ops::conv::Conv<'_>,
                _: &brooklet::ops::Rows<'_>,
                _: &brooklet::ops::Shortcut<'_>,
                _: &mut [u8],
                output: &mut [i8],
            ) {
                for out in output {
                    *out = out.wrapping_add(1);
                }
            }
        }
        let file = example();
        let model = Model::parse(&file).expect("it is a model");
        let mut arena = Guarded::new(1 << 16);
        let image = vec![7];
        let mut answers = |poison, runs| {
            let images = [&image, &image];
            run(&model, Careless(runs), &mut arena, Side::Left, poison, images).expect("it runs")
        };
        assert_ne!(answers(1, true), answers(2, true));
        assert_eq!(answers(1, false), None);
    }

    #[test]
    fn verdicts_are_those_of_the_file() {
        let mut oracle = Oracle::new();
        let file = example();
        assert!(matches!(oracle.judge(&file), Ok(Verdict::Ran { .. })));
        assert!(matches!(oracle.judge(&file[..60]), Ok(Verdict::Refused(_))));
        assert!(matches!(oracle.judge(&[]), Ok(Verdict::Refused(_))));
    }
}
