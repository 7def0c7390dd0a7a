//! Files made to deceive are refused, on every core in the same way.

use crate::common::families::network_of_families;
use crate::common::{model_file, network, sealed, skipped, with_int16};
use brooklet::format::{Header, LayerRecord, Operator, Packing, PreprocessingRecord, flags};
use brooklet::quant::Multiplier;
use brooklet::{Error, Fault, Model, Section, Shape};
use brooklet_plan::program::{Layer, Program, Table};
use zerocopy::FromBytes;
use zerocopy::little_endian::{F32, I32, U16, U32};

/// The file with a changed record of one layer, sealed.
fn changed(file: &[u8], layer: usize, change: impl FnOnce(&mut LayerRecord)) -> Vec<u8> {
    let mut file = file.to_vec();
    let (header, _) = Header::ref_from_prefix(&file).unwrap();
    let at = header.layers_offset.get() as usize + layer * size_of::<LayerRecord>();
    let record = &mut file[at..at + size_of::<LayerRecord>()];
    change(LayerRecord::mut_from_bytes(record).unwrap());
    sealed(file)
}

fn refusal(file: &[u8]) -> Option<Error> {
    Model::parse(file).err()
}

/// Scratch memory of zero bytes has no place: one in the middle of a row would cut it.
#[test]
fn no_scratch_memory_lies_nowhere() {
    let mut tried = 0;
    for seed in 0..12 {
        let program = network(seed, 2);
        let file = model_file(&if seed % 2 == 0 { program } else { with_int16(program, seed) });
        let model = Model::parse(&file).unwrap();
        for (index, layer) in model.layers().iter().enumerate() {
            if layer.scratch_bytes.get() > 0 {
                continue;
            }
            for place in [16, model.row(0, 0).start as u32 + 16, model.arena_bytes() as u32] {
                let moved = changed(&file, index, |record| record.scratch_offset.set(place));
                let error = Error::Layer { layer: index as u16, fault: Fault::Unused };
                assert_eq!(refusal(&moved), Some(error), "{seed}, layer {index}, {place}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100);
}

/// Every field of every operator is used, or must be zero.
#[test]
fn what_an_operator_has_no_use_for_is_zero() {
    type Change = fn(&mut LayerRecord);
    let changes: [(&str, &[Operator], Change); 14] = {
        use Operator::*;
        const CHANNELS: &[Operator] = &[Conv, GroupedConv, DepthwiseConv, BatchNorm];
        const CONVS: &[Operator] = &[Conv, GroupedConv, DepthwiseConv];
        const WINDOWS: &[Operator] =
            &[Conv, GroupedConv, DepthwiseConv, MaxPool, WindowAverage, Border];
        const WEIGHTS: &[Operator] = &[Conv, GroupedConv, DepthwiseConv, BatchNorm, Lookup];
        [
            ("packing", &[Conv, GroupedConv], |r| r.packing = 1),
            ("kernel", WINDOWS, |r| r.kernel[1] = 1),
            ("stride", WINDOWS, |r| r.stride[0] = 1),
            ("pads", WINDOWS, |r| r.pads[3] = 1),
            ("join_bits", &[], |r| r.join_bits = 1),
            ("weights", WEIGHTS, |r| r.weights = U32::new(16)),
            ("bias", CHANNELS, |r| r.bias = U32::new(4)),
            ("mantissas", CHANNELS, |r| r.mantissas = U32::new(4)),
            ("shifts", CHANNELS, |r| r.shifts = U32::new(1)),
            ("padding_values", CONVS, |r| r.padding_values = U32::new(1)),
            ("table", &[Input, Add, Lookup, Concat], |r| r.table = U32::new(4)),
            ("multiplier", &[Add, AveragePool, Softmax, Multiply], |r| r.multiplier_shifts[0] = 1),
            ("third multiplier", &[], |r| r.multiplier_mantissas[2] = I32::new(1 << 30)),
            ("parameter", &[Softmax, GroupedConv, Lookup, WindowAverage, Border], |r| {
                r.parameter = I32::new(-1);
            }),
        ]
    };
    let mut refused = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let program = if seed % 2 == 0 { network(seed, 2) } else { network_of_families(seed, 3) };
        let file = model_file(&program);
        let model = Model::parse(&file).unwrap();
        for (index, layer) in model.layers().iter().enumerate() {
            for (name, users, change) in &changes {
                if layer.shortcut().is_some() || users.contains(&layer.operator()) {
                    continue;
                }
                let error = refusal(&changed(&file, index, change));
                // Batch norms and depthwise convolutions check their packing first.
                let packing = Fault::UnknownPacking(1);
                let faults = [Fault::Unused, packing]
                    .map(|fault| Some(Error::Layer { layer: index as u16, fault }));
                assert!(faults.contains(&error), "{name} of {:?}: {error:?}", layer.operator());
                refused.insert((layer.operator, *name));
            }
        }
    }
    assert!(refused.len() > 50, "{refused:?}");
}

/// A convolution of the last layer, or of `input`, without padding unless it keeps the shape at
/// stride 1.
fn conv(program: &mut Program, input: usize, channels: u16, kernel: u8, stride: u8) {
    let from = program.layers[input].record.shape();
    let pad = if stride == 1 && kernel % 2 == 1 { kernel / 2 } else { 0 };
    let steps =
        |length: u16| (length + 2 * u16::from(pad) - u16::from(kernel)) / u16::from(stride) + 1;
    let shape = Shape::new(steps(from.rows), steps(from.columns), channels);
    let mut conv = Layer::new("conv", Operator::Conv, input, shape);
    (conv.record.scale, conv.record.stride) = (F32::new(1.0), [stride; 2]);
    (conv.record.kernel, conv.record.pads) = ([kernel; 2], [pad; 4]);
    let taps = usize::from(kernel).pow(2) * usize::from(from.channels);
    conv.weights = vec![0; taps * usize::from(channels)];
    conv.bias = vec![0; usize::from(channels)];
    conv.multipliers = vec![Multiplier::from_real(0.5).unwrap(); usize::from(channels)];
    program.logits = program.layers.len();
    program.layers.push(conv);
}

/// A network that consists of the input.
fn image(shape: Shape) -> Program {
    let mut image = Layer::new("image", Operator::Input, 0, shape);
    (image.record.scale, image.record.zero_point) = (F32::new(1.0), -128);
    Program { layers: vec![image], ..Program::default() }
}

/// A network of the input and one convolution, with places of their own in the arena.
fn convolution(input: Shape, channels: u16, kernel: u8) -> Program {
    let mut program = image(input);
    conv(&mut program, 0, channels, kernel, 1);
    program
}

/// A row that no layer reads is made after its reader has finished. It has a place like any other,
/// which must not be that of a row that is still needed.
///
/// ```text
/// image ─┬─ conv 1: 2×2, stride 2 ───────────────── conv 4 + ─ conv 5
///        └─ conv 2: 1×1 ─ conv 3: 1×1, stride 2 ───────────┘
/// ```
///
/// The last row of conv 3, made from row 2 of the image, waits for that of conv 1, made from rows 2
/// and 3. Row 3 of conv 2 is made before it.
#[test]
fn a_row_that_nobody_reads_overwrites_nothing() {
    let mut program = image(Shape::new(4, 4, 1));
    conv(&mut program, 0, 1, 2, 2);
    conv(&mut program, 0, 1, 1, 1);
    conv(&mut program, 2, 1, 1, 2);
    conv(&mut program, 1, 1, 1, 1);
    program.layers[4].table = Some(Table::Terms(vec![0; 256]));
    (program.layers[4].record.shortcut, program.layers[4].record.shortcut_stride) =
        (U16::new(3), 1);
    conv(&mut program, 4, 1, 2, 1);
    let mut file = model_file(&program);
    let model = Model::parse(&file).unwrap();
    let place = |layer: usize, row: usize| model.layer(layer).places.get() as usize + 4 * row;
    let (from, to) = (place(3, 1), place(2, 3));
    file.copy_within(from..from + 4, to);
    let overwrites = Error::Layer { layer: 2, fault: Fault::Overwrites };
    assert_eq!(refusal(&sealed(file)), Some(overwrites));
}

/// Scratch memory of more than 2³² bytes is not accepted with its size cut to 32 bits.
#[test]
fn scratch_memory_beyond_32_bits_is_refused() {
    let mut program = convolution(Shape::new(1, 3700, 65532), 1, 3);
    program.layers[1].record.packing = Packing::WinogradInt8 as u8;
    let bytes = program.scratch_bytes(1);
    assert!(bytes > 1 << 32, "{bytes}");
    let file = model_file(&program);
    let derived = Error::Layer { layer: 1, fault: Fault::Derived };
    for said in [bytes as u32, u32::MAX, 0] {
        let file = changed(&file, 1, |record| {
            record.scratch_bytes.set(said);
            record.scratch_offset.set(0);
        });
        let mut file = file;
        file[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        // The input's row keeps its place, whatever the plan made of that memory.
        let places = Header::ref_from_prefix(&file).unwrap().0.layers_offset.get() as usize + 12;
        let places = u32::from_le_bytes(file[places..places + 4].try_into().unwrap()) as usize;
        file[places..places + 4].fill(0);
        assert_eq!(refusal(&sealed(file)), Some(derived), "{said}");
    }
}

/// A row of 2³² + 65,534 bytes does not count as one of 65,534.
#[test]
fn rows_beyond_32_bits_are_refused() {
    let mut program = convolution(Shape::new(1, 32769, 1), 65535, 1);
    program.layers[1].record.flags = flags::INT16 | flags::HAS_INT16;
    let mut file = model_file(&program);
    for arena in [1 << 20, u32::MAX] {
        file[20..24].copy_from_slice(&arena.to_le_bytes());
        let row = Error::Layer { layer: 1, fault: Fault::OutOfBounds(Section::Row) };
        assert_eq!(refusal(&sealed(file.clone())), Some(row), "{arena}");
    }
}

#[test]
fn preprocessing_is_checked() {
    let valid = PreprocessingRecord {
        resize: U16::new(PreprocessingRecord::MAX_RESIZE),
        crop_rows: U16::new(8),
        crop_columns: U16::new(8),
        settings: U16::new(1),
        mean: [F32::new(0.5); 3],
        std: [F32::new(0.25); 3],
    };
    let check = |record: PreprocessingRecord| {
        let mut program = network(8, 3);
        program.preprocessing = Some(record);
        let file = model_file(&program);
        // Running needs none of this.
        Model::parse(&file).unwrap().check_preprocessing()
    };
    assert_eq!(check(valid), Ok(()));
    type Change = fn(&mut PreprocessingRecord);
    let most = PreprocessingRecord::MAX_RESIZE;
    let columns = PreprocessingRecord { settings: U16::new(2 * most), ..valid };
    assert_eq!(check(columns), Ok(()));
    let changes: [Change; 10] = [
        |r| r.resize = U16::new(PreprocessingRecord::MAX_RESIZE + 1),
        |r| r.resize = U16::new(u16::MAX),
        |r| r.crop_rows = U16::new(0),
        |r| r.crop_columns = U16::new(0),
        |r| r.settings = U16::new(2 * (PreprocessingRecord::MAX_RESIZE + 1)),
        |r| (r.resize, r.settings) = (U16::new(0), U16::new(2)),
        |r| r.mean[1] = F32::new(f32::NAN),
        |r| r.std[2] = F32::new(0.0),
        |r| r.std[0] = F32::new(-1.0),
        |r| r.std[0] = F32::new(f32::INFINITY),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut record = valid;
        change(&mut record);
        assert_eq!(check(record), Err(Error::Preprocessing), "change {number}");
    }
}

/// The original files with which these faults were found.
#[test]
fn the_files_that_were_found_are_refused() {
    let folder = std::path::Path::new("../shared/cases/hostile");
    if !folder.exists() {
        return skipped(&format!("hostile model files: there is no {}", folder.display()));
    }
    for name in ["parse_empty_scratch_add_panics", "parse_empty_scratch_poison", "rz65535"] {
        let file = std::fs::read(folder.join(name).with_extension("brook")).unwrap();
        let error = Model::parse(&file).and_then(|model| model.check_preprocessing()).err();
        let found = match name {
            "rz65535" => error == Some(Error::Preprocessing),
            _ => matches!(error, Some(Error::Layer { fault: Fault::Unused, .. })),
        };
        assert!(found, "{name}: {error:?}");
    }
    let file = std::fs::read(folder.join("rz.brook")).unwrap();
    assert_eq!(Model::parse(&file).and_then(|model| model.check_preprocessing()), Ok(()));
}

/// Derived values are compared for any value, and nothing relies on them before.
#[test]
fn wrong_derived_numbers_are_refused() {
    type Change = fn(&mut LayerRecord, u32);
    let changes: [Change; 6] = [
        |record, other| record.weight_bytes.set(other),
        |record, other| record.scratch_bytes.set(other),
        |record, other| record.steps.set(other as u16),
        |record, other| record.step_rows = other as u8,
        |record, other| record.step_stride = other as u8,
        |record, other| record.step_span = other as u8,
    ];
    let mut refused = std::collections::BTreeSet::new();
    for seed in 0..24 {
        let program = if seed % 3 == 0 { network(seed, 2) } else { network_of_families(seed, 4) };
        let file = model_file(&program);
        let model = Model::parse(&file).unwrap();
        for (index, layer) in model.layers().iter().enumerate() {
            for change in changes {
                for other in [0, 1, 7, 16, layer.weight_bytes.get() / 2, u32::MAX] {
                    let changed = changed(&file, index, |record| change(record, other));
                    // Some of the new values equal the old.
                    if changed == file {
                        continue;
                    }
                    assert!(refusal(&changed).is_some(), "{seed}, layer {index}: {other}");
                    refused.insert(layer.operator);
                }
            }
        }
    }
    assert_eq!(refused.len(), 14, "{refused:?}");
}
