//! Kernels of the host access nothing around their arguments: each slice of a call ends where an
//! inaccessible page begins, or begins where one ends.

use std::cell::RefCell;
use std::io::Write;

#[cfg(target_arch = "x86_64")]
use brooklet::kernels::{Avx2, Avx512Vnni};
use brooklet::kernels::{Backend, Isa, Portable, Reference};
use brooklet::ops::add::Add;
use brooklet::ops::average_pool::AveragePool;
use brooklet::ops::batch_norm::BatchNorm;
use brooklet::ops::conv::{Conv, Finish, Padding};
use brooklet::ops::max_pool::MaxPool;
use brooklet::ops::softmax::Softmax;
use brooklet::ops::{Outputs, Rows, Shortcut, Shortcuts};
use brooklet_mutants::Guarded;
use brooklet_suite::{Memory, run};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Maximum number of bytes of a slice of a call.
const LARGEST: usize = 1 << 16;
/// Maximum number of slices of a call.
const SLICES: usize = 64;
/// Alignment of scratch memory and sums, which is that of the arena.
const ALIGN: usize = 16;

/// The end of a slice that is next to a guard.
#[derive(Debug, Clone, Copy)]
enum Side {
    Begin,
    End,
}

/// A backend whose slices all lie between guards.
struct Between<B> {
    backend: B,
    side: Side,
    memory: RefCell<Vec<Guarded>>,
}

/// Memory for the slices of a call.
struct Places<'p> {
    side: Side,
    free: std::slice::IterMut<'p, Guarded>,
}

impl<'p> Places<'p> {
    /// A copy of a slice, next to a guard.
    fn bytes(&mut self, from: &[u8], align: usize) -> &'p mut [u8] {
        let all = self.free.next().expect("a call has no more slices").bytes();
        let start = match self.side {
            Side::Begin => 0,
            Side::End => (all.len() - from.len()) / align * align,
        };
        let place = &mut all[start..start + from.len()];
        place.copy_from_slice(from);
        place
    }

    /// The same for values of another type.
    fn of<T>(&mut self, from: &[T], align: usize) -> &'p mut [T]
    where
        T: FromBytes + IntoBytes + Immutable + KnownLayout,
    {
        <[T]>::mut_from_bytes(self.bytes(from.as_bytes(), align)).expect("it is aligned")
    }

    fn rows(&mut self, rows: &Rows<'_>) -> Vec<&'p [i8]> {
        // A row of padding is empty at any address.
        let mut place = |row: &&[i8]| if row.is_empty() { &[][..] } else { &*self.of(row, 1) };
        rows.iter().map(&mut place).collect()
    }

    fn shortcut(&mut self, shortcut: &Shortcut<'_>) -> Shortcut<'p> {
        match *shortcut {
            Shortcut::InPlace => Shortcut::InPlace,
            Shortcut::Row { row, lower, channels, stride, before, zero } => {
                let [row, lower] = [row, lower].map(|row| &*self.of(row, 1));
                Shortcut::Row { row, lower, channels, stride, before, zero }
            }
        }
    }

    fn conv(&mut self, conv: &Conv<'_>) -> Conv<'p> {
        Conv {
            window: conv.window,
            packing: conv.packing,
            weights: self.of(conv.weights, 1),
            bias: self.of(conv.bias, 4),
            mantissas: self.of(conv.mantissas, 4),
            shifts: self.of(conv.shifts, 1),
            padding: match conv.padding {
                Padding::Same(value) => Padding::Same(value),
                Padding::PerChannel(values) => Padding::PerChannel(self.of(values, 1)),
            },
            finish: match conv.finish {
                Finish::Requantize { zero_point } => Finish::Requantize { zero_point },
                Finish::Join { table, bits } => Finish::Join { table: self.of(table, 4), bits },
                Finish::Stream(stream) => Finish::Stream(stream),
            },
            clamp: conv.clamp,
        }
    }
}

impl<B> Between<B> {
    fn new(backend: B, side: Side) -> Self {
        let memory = (0..SLICES).map(|_| Guarded::new(LARGEST)).collect();
        Self { backend, side, memory: RefCell::new(memory) }
    }

    /// Makes a call with slices that lie between guards.
    fn call(&self, call: impl FnOnce(&B, Places<'_>)) {
        let mut memory = self.memory.borrow_mut();
        call(&self.backend, Places { side: self.side, free: memory.iter_mut() });
    }
}

impl<B: Backend> Backend for Between<B> {
    const ISA: &'static Isa = B::ISA;

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        self.call(|backend, mut places| {
            let (conv, rows) = (places.conv(conv), places.rows(rows));
            let (shortcut, scratch) = (places.shortcut(shortcut), places.of(scratch, ALIGN));
            let made = places.of(output, 1);
            backend.conv(&conv, &rows, &shortcut, scratch, made);
            output.copy_from_slice(made);
        });
    }

    fn conv_rows(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcuts: &Shortcuts<'_>,
        scratch: &mut [u8],
        outputs: &mut Outputs<'_>,
    ) {
        self.call(|backend, mut places| {
            let (conv, rows) = (places.conv(conv), places.rows(rows));
            let shortcuts = shortcuts.each_ref().map(|shortcut| places.shortcut(shortcut));
            let scratch = places.of(scratch, ALIGN);
            let mut made = outputs.each_ref().map(|output| match output.is_empty() {
                true => &mut [][..],
                false => places.of(output, 1),
            });
            backend.conv_rows(&conv, &rows, &shortcuts, scratch, &mut made);
            for (output, made) in outputs.iter_mut().zip(made) {
                output.copy_from_slice(made);
            }
        });
    }

    fn add(&self, add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
        self.call(|backend, mut places| {
            let add = Add { table: places.of(add.table, 4), ..*add };
            let (input, shortcut) = (places.of(input, 1), places.shortcut(shortcut));
            let made = places.of(output, 1);
            backend.add(&add, input, &shortcut, made);
            output.copy_from_slice(made);
        });
    }

    fn max_pool(&self, pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
        self.call(|backend, mut places| {
            let (rows, made) = (places.rows(rows), places.of(output, 1));
            backend.max_pool(pool, &rows, made);
            output.copy_from_slice(made);
        });
    }

    fn sum_row(&self, first: bool, row: &[i8], sums: &mut [i32]) {
        self.call(|backend, mut places| {
            let (row, made) = (places.of(row, 1), places.of(sums, 4));
            backend.sum_row(first, row, made);
            sums.copy_from_slice(made);
        });
    }

    fn average(&self, pool: &AveragePool, sums: &[i32], output: &mut [i8]) {
        self.call(|backend, mut places| {
            let (sums, made) = (places.of(sums, 4), places.of(output, 1));
            backend.average(pool, sums, made);
            output.copy_from_slice(made);
        });
    }

    fn batch_norm(&self, norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
        self.call(|backend, mut places| {
            let norm = BatchNorm {
                weights: places.of(norm.weights, 1),
                bias: places.of(norm.bias, 4),
                mantissas: places.of(norm.mantissas, 4),
                shifts: places.of(norm.shifts, 1),
                ..*norm
            };
            let (input, made) = (places.of(input, 1), places.of(output, 1));
            backend.batch_norm(&norm, input, made);
            output.copy_from_slice(made);
        });
    }

    fn softmax(&self, softmax: &Softmax, input: &[i8], output: &mut [i8]) {
        self.call(|backend, mut places| {
            let (input, made) = (places.of(input, 1), places.of(output, 1));
            backend.softmax(softmax, input, made);
            output.copy_from_slice(made);
        });
    }
}

/// Runs the suite between guards, if the machine has what the backend needs.
fn stays_inside<B: Backend>(backend: impl Fn() -> Option<B>) {
    for side in [Side::Begin, Side::End] {
        let Some(backend) = backend() else {
            let line = format!("SKIPPED: this machine lacks what backend {} needs\n", B::ISA.name);
            return std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
        };
        let outcome = run(&Between::new(backend, side), &mut Box::new(Memory::new()));
        let first = outcome.first.map(|first| first.to_string()).unwrap_or_default();
        assert_eq!(outcome.failures, 0, "{side:?}: {first}");
        assert!(outcome.cases > 300, "{outcome:?}");
    }
}

#[test]
fn the_reference_stays_inside() {
    stays_inside(|| Some(Reference));
}

#[test]
fn portable_stays_inside() {
    stays_inside(|| Some(Portable));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx2_stays_inside() {
    stays_inside(Avx2::detect);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx512_vnni_stays_inside() {
    stays_inside(Avx512Vnni::detect);
}
