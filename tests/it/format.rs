//! No file that could fail later is accepted as a model file.

use crate::common::{
    Watched, image, in_bits_of, model_file, network, network_of_maps, sealed, tries, with_int16,
    with_stream16,
};
use crate::interpreter::interpret;
use brooklet::format::{Header, LayerRecord, Operator, Packing, flags};
use brooklet::kernels::{Backend, Portable};
use brooklet::ops::conv::Conv;
use brooklet::{Error, Fault, Model, Section, Session, arena_bytes};
use brooklet_plan::program::{Layer, Program};
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn every_truncation_is_refused() {
    let file = model_file(&network(1, 2));
    assert!(Model::parse(&file).is_ok());
    for length in 0..file.len() {
        match Model::parse(&file[..length]) {
            Err(Error::TooShort { got, .. }) => assert_eq!(got, length),
            other => panic!("{length}: {other:?}"),
        }
    }
    // Bytes after the file are ignored.
    let mut longer = file.clone();
    longer.extend([0xff; 100]);
    assert!(Model::parse(&longer).is_ok());
}

#[test]
fn every_bit_is_under_the_checksum() {
    let file = model_file(&network(2, 1));
    for bit in 0..8 * file.len() {
        let mut broken = file.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(Model::parse(&broken).is_err(), "bit {bit}");
    }
}

/// Changes one layer's record, and seals the file.
fn changed(layer: usize, change: impl FnOnce(&mut LayerRecord)) -> Vec<u8> {
    let mut file = model_file(&network(8, 3));
    let (header, _) = Header::ref_from_prefix(&file).unwrap();
    let at = header.layers_offset.get() as usize + layer * size_of::<LayerRecord>();
    let record = &mut file[at..at + size_of::<LayerRecord>()];
    change(LayerRecord::mut_from_bytes(record).unwrap());
    sealed(file)
}

#[test]
fn causes_are_named() {
    let fault = |layer: u16, fault| Err(Error::Layer { layer, fault });
    let parse = |file: Vec<u8>| Model::parse(&file).map(|_| ());
    assert_eq!(parse(changed(1, |r| r.operator = 77)), fault(1, Fault::UnknownOperator(77)));
    assert_eq!(parse(changed(1, |r| r.packing = 99)), fault(1, Fault::UnknownPacking(99)));
    let winograd = Fault::Packing(Packing::Winograd);
    let of_five = |r: &mut LayerRecord| (r.packing, r.kernel) = (Packing::Winograd as u8, [5, 5]);
    assert_eq!(parse(changed(1, of_five)), fault(1, winograd));
    let on_demand = |r: &mut LayerRecord| r.flags |= flags::ON_DEMAND;
    assert_eq!(parse(changed(2, on_demand)), fault(2, Fault::Readers));
    assert_eq!(parse(changed(1, |r| r.flags |= flags::HAS_INT16)), fault(1, Fault::Int16Flags));
    assert_eq!(parse(changed(1, |r| r.flags |= flags::INT16)), fault(1, Fault::Int16Flags));
    let int16 = flags::INT16 | flags::HAS_INT16;
    assert_eq!(parse(changed(0, |r| r.flags |= int16)), fault(0, Fault::Int16Flags));
    let zero_point = |r: &mut LayerRecord| (r.flags, r.zero_point) = (r.flags | int16, 1);
    assert_eq!(parse(changed(1, zero_point)), fault(1, Fault::Int16Flags));
    let pairs = |r: &mut LayerRecord| (r.flags, r.zero_point, r.packing) = (int16, 0, 1);
    assert_eq!(parse(changed(1, pairs)), fault(1, Fault::Packing(Packing::Pairs)));
    assert_eq!(parse(changed(1, |r| r.rows = 0.into())), fault(1, Fault::Shape));
    assert_eq!(parse(changed(1, |r| r.kernel = [17, 17])), fault(1, Fault::Kernel));
    assert_eq!(parse(changed(1, |r| r.input = 1.into())), fault(1, Fault::Operands));
    for derived in [
        |r: &mut LayerRecord| r.steps = (r.steps.get() - 1).into(),
        |r: &mut LayerRecord| r.step_rows = 4,
        |r: &mut LayerRecord| r.step_stride += 1,
        |r: &mut LayerRecord| r.step_span -= 1,
        |r: &mut LayerRecord| r.weight_bytes = (r.weight_bytes.get() - 1).into(),
        |r: &mut LayerRecord| r.scratch_bytes = 16.into(),
    ] {
        assert_eq!(parse(changed(1, derived)), fault(1, Fault::Derived));
    }
    // Layers without a window have no padding.
    let layers = network(8, 3).layers;
    let pool = |layer: &Layer| layer.record.operator() == Operator::AveragePool;
    let pool = layers.iter().position(pool).unwrap();
    assert_eq!(parse(changed(pool, |r| r.pads[0] = 1)), fault(pool as u16, Fault::Unused));
    assert_eq!(parse(changed(1, |r| r.scale = f32::NAN.into())), fault(1, Fault::Quantization));
    assert_eq!(parse(changed(0, |r| r.last_reader = 0.into())), fault(0, Fault::Readers));
    assert!(matches!(
        parse(changed(1, |r| r.weights = 0xffff_fff0.into())),
        Err(Error::Layer { layer: 1, fault: Fault::OutOfBounds(_) })
    ));
    assert!(matches!(
        parse(changed(1, |r| r.places = 0xffff_ff00.into())),
        Err(Error::Layer { layer: 1, fault: Fault::OutOfBounds(Section::Places) })
    ));
    assert!(matches!(
        parse(changed(1, |r| r.places = 2.into())),
        Err(Error::Layer { layer: 1, fault: Fault::OutOfBounds(Section::Places) })
    ));
    // Numbers that no packing has, or none any more.
    for number in [5, 12, 17, 22, 27, 38, 255] {
        let fault = Fault::UnknownPacking(number);
        let refused = parse(changed(1, |r| r.packing = number));
        assert_eq!(refused.err(), Some(Error::Layer { layer: 1, fault }), "{number}");
    }
    let mut file = model_file(&network(8, 3));
    file[0] = b'x';
    assert_eq!(parse(file.clone()), Err(Error::BadMagic));
    file[0] = 0x89;
    file[8] = brooklet::format::VERSION as u8 + 1;
    assert_eq!(
        parse(file),
        Err(Error::UnsupportedVersion { found: brooklet::format::VERSION + 1 })
    );
}

/// Sets the place of row `y` of a layer, and seals the file.
fn placed(mut file: Vec<u8>, layer: usize, y: u16, place: u32) -> Vec<u8> {
    let places = Model::parse(&file).unwrap().layer(layer).places.get() as usize;
    let at = places + 4 * usize::from(y);
    file[at..at + 4].copy_from_slice(&place.to_le_bytes());
    sealed(file)
}

#[test]
fn rows_outside_of_the_arena_are_refused() {
    let file = model_file(&network(8, 3));
    let end = Model::parse(&file).unwrap().arena_bytes() as u32;
    for place in [end, end - 1, 8, u32::MAX] {
        assert_eq!(
            Model::parse(&placed(file.clone(), 1, 0, place)).map(|_| ()),
            Err(Error::Layer { layer: 1, fault: Fault::OutOfBounds(Section::Row) }),
            "{place}"
        );
    }
}

/// Tries every row in every place: the file is accepted exactly if the network still computes
/// correctly.
#[test]
fn a_row_in_the_place_of_another_is_refused_or_harmless() {
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..tries(6, 24) {
        // Steps of one row, and steps of several.
        let packing = [Packing::Ohwi, Packing::Winograd][seed as usize % 2];
        let program = network(seed, 2);
        let program = if seed % 3 == 0 { with_int16(program, seed) } else { program };
        let program = program.packed(packing);
        let image = image(&program, seed);
        let expected = interpret(&program, &image)[program.logits].clone();
        let file = model_file(&program);
        let model = Model::parse(&file).unwrap();
        let places: Vec<u32> = (0..model.arena_bytes() as u32).step_by(16).collect();
        for layer in 0..model.layers().len() {
            for y in 0..model.layer(layer).rows.get() {
                for &place in &places {
                    let moved = placed(file.clone(), layer, y, place);
                    let Ok(model) = Model::parse(&moved) else {
                        refused += 1;
                        continue;
                    };
                    let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
                    let mut session =
                        Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
                    assert!(
                        session.run_image(&image).unwrap().scores().eq(expected.iter().copied())
                    );
                    accepted += 1;
                }
            }
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted");
}

#[test]
fn sums_that_could_overflow_are_refused() {
    let program = network(8, 3);
    let file = model_file(&program);
    let model = Model::parse(&file).unwrap();
    let bias = model.layer(1).bias.get() as usize;
    let with_bias = |value: u32| {
        let mut changed = file.clone();
        changed[bias..bias + 4].copy_from_slice(&value.to_le_bytes());
        Model::parse(&sealed(changed)).map(|_| ())
    };
    // Kernels take the high word of twice the sum. The test is exact to the last bit of what the
    // weights can add.
    let layer = &program.layers[1];
    assert!(layer.multipliers[0].shift <= 0);
    let weights = &layer.weights[..layer.weights.len() / layer.bias.len()];
    let products: u32 = weights.iter().map(|weight| 128 * u32::from(weight.unsigned_abs())).sum();
    let largest = (1 << 30) - 1 - products;
    assert_eq!(with_bias(largest), Ok(()));
    let refused = Err(Error::Layer { layer: 1, fault: Fault::Accumulator { channel: 0 } });
    for value in [largest + 1, i32::MAX as u32] {
        assert_eq!(with_bias(value), refused);
    }
}

#[test]
fn a_file_may_lie_anywhere_but_for_kernels_that_load_words() {
    let program = network(8, 3);
    let file = model_file(&program);
    let image = image(&program, 5);
    let mut places = vec![0u128; file.len().div_ceil(16) + 1];
    let mut memory = places.clone();
    for offset in 0..16 {
        places.as_mut_bytes()[offset..offset + file.len()].copy_from_slice(&file);
        let model = Model::parse(&places.as_bytes()[offset..]).unwrap();
        let arena = memory.as_mut_bytes();
        let misaligned = Error::ModelMisaligned { align: 4, backend: Portable::ISA.name };
        let words = Watched::<_, _, 4>(Portable, |_: &Conv<'_>, _: &mut [i8]| ());
        match Session::new(&model, words, arena) {
            Ok(_) => assert!(offset.is_multiple_of(4)),
            Err(error) => assert!(!offset.is_multiple_of(4) && error == misaligned, "{error}"),
        }
        let arena = memory.as_mut_bytes();
        let mut session = Session::new(&model, Portable, arena).unwrap();
        let logits: Vec<i16> = session.run_image(&image).unwrap().scores().collect();
        assert_eq!(logits, interpret(&program, &image)[program.logits]);
    }
}

#[test]
fn names_and_labels_are_text() {
    let mut program = network(8, 3);
    program.labels = vec!["one".to_owned(); program.layers[program.logits].record.shape().bytes()];
    let file = model_file(&program);
    let model = Model::parse(&file).unwrap();
    assert_eq!(model.check_text(), Ok(()));
    for at in [model.header().names_offset, model.header().labels_offset] {
        let mut broken = file.clone();
        broken[at.get() as usize] = 0xff;
        let broken = sealed(broken);
        // Running does not need the names of layers and classes.
        let model = Model::parse(&broken).unwrap();
        assert_eq!(model.check_text(), Err(Error::Text));
        assert!(model.name(0).is_empty() || model.label(0).is_none());
    }
}

#[test]
fn what_was_checked_before_runs_as_what_is_checked() {
    let program = network(8, 3).packed(Packing::Winograd);
    let file = model_file(&program);
    let image = image(&program, 5);
    let run = |model: &Model<'_>| -> Vec<i16> {
        let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
        let mut session = Session::new(model, Portable, memory.as_mut_bytes()).unwrap();
        session.run_image(&image).unwrap().scores().collect()
    };
    let [checked, before] = [Model::parse(&file), Model::checked_before(&file)].map(Result::unwrap);
    assert_eq!(run(&checked), run(&before));
    for short in [0, 63, 64, file.len() / 2] {
        assert!(Model::checked_before(&file[..short]).is_err(), "{short}");
    }
}

#[test]
fn arena_and_backend_are_checked() {
    let program = network(8, 3);
    let file = model_file(&program);
    let model = Model::parse(&file).unwrap();
    let needed = model.arena_bytes();
    let mut memory = vec![0u128; needed.div_ceil(16) + 1];
    let bytes = memory.as_mut_bytes();
    let new = |arena: &mut [u8]| Session::new(&model, Portable, arena).map(|_| ());
    assert_eq!(
        new(&mut bytes[..needed - 1]),
        Err(Error::ArenaTooSmall { needed, got: needed - 1 })
    );
    assert_eq!(new(&mut bytes[1..]), Err(Error::ArenaMisaligned));
    assert_eq!(arena_bytes(&file), needed);

    let pairs = model_file(&program.packed(Packing::Pairs));
    let model = Model::parse(&pairs).unwrap();
    let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
    assert!(matches!(
        Session::new(&model, Portable, memory.as_mut_bytes()),
        Err(Error::Packing { layer: 1, packing: "pairs", backend: "portable" })
    ));
}

/// The worked example of the format's documentation: an image of one pixel, and a convolution
/// that halves it.
#[test]
fn the_worked_example_is_a_model() {
    let text = include_str!("../../src/format/example.hex");
    let file: Vec<u8> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(_, rest)| rest.split('|').next().unwrap_or("").split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    if std::env::var_os("BROOKLET_BLESS").is_some() {
        std::fs::write("src/format/example.hex", hex(&example())).unwrap();
        return;
    }
    assert_eq!(file, example(), "BROOKLET_BLESS=1 cargo test --test it format writes it again");
    let model = Model::parse(&file).unwrap();
    let mut memory = [0u128; 2];
    let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
    for (pixel, logit) in [(0, -64), (128, 0), (129, 1), (255, 64)] {
        assert_eq!(session.run_image(&[pixel]).unwrap().as_slice(), [logit]);
    }
}

/// The network of the worked example.
fn example() -> Vec<u8> {
    use brooklet::quant::Multiplier;
    let shape = brooklet::Shape::new(1, 1, 1);
    let mut input = Layer::new("in", Operator::Input, 0, shape);
    (input.record.scale, input.record.zero_point) = (1.0.into(), -128);
    let mut halve = Layer::new("halve", Operator::Conv, 0, shape);
    (halve.record.scale, halve.record.kernel, halve.record.stride) = (1.0.into(), [1; 2], [1; 2]);
    (halve.weights, halve.bias) = (vec![1], vec![0]);
    halve.multipliers = vec![Multiplier::from_real(0.5).unwrap()];
    let program = Program { layers: vec![input, halve], logits: 1, ..Program::default() };
    model_file(&program)
}

/// Offset, 16 bytes, and the text in them.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii: String = line
            .iter()
            .map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' })
            .collect();
        text += &format!("{:04x}: {:47} |{ascii}|\n", 16 * index, hex.join(" "));
    }
    text
}

/// The golden files of the documentation's examples are reproduced byte by byte.
#[test]
fn the_golden_files_are_reproduced() {
    // For the fuzzer, also with weights in four bits, and in five.
    let narrow = in_bits_of(golden(), Packing::Ohwi4);
    let in_planes = in_bits_of(golden(), Packing::Ohwi5);
    // Also with some tensors in int16, including the logits.
    let int16 = |seed| with_int16(golden(), seed);
    let logits = |program: &Program| program.layers[program.logits].record.is_int16();
    let wide = (0..).map(int16).find(logits).expect("every second");
    // Also with its residual stream in 16 bits.
    let stream = with_stream16(golden(), 1);
    for (program, path) in [
        (golden(), "tests/golden/tiny.brook"),
        (narrow, "tests/golden/tiny-4.brook"),
        (in_planes, "tests/golden/tiny-5.brook"),
        (wide, "tests/golden/tiny-16.brook"),
        (stream, "tests/golden/tiny-stream16.brook"),
        (network_of_maps(118, 1), "tests/golden/tiny-map.brook"),
    ] {
        is_reproduced(&program, path);
    }
}

fn is_reproduced(program: &Program, path: &str) {
    let file = model_file(program);
    if std::env::var_os("BROOKLET_BLESS").is_some() {
        std::fs::write(path, &file).unwrap();
    }
    let same = std::fs::read(path).unwrap() == file;
    assert!(same, "{path} changes; BROOKLET_BLESS=1 cargo test writes it again");
    let image = image(program, 5);
    let model = Model::parse(&file).unwrap();
    let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
    let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
    session.push_image(&image).unwrap();
    let logits: Vec<i16> = session.logits_map().unwrap().scores().collect();
    assert_eq!(logits, interpret(program, &image)[program.logits]);
}

/// A network of three blocks for images of 8×8 pixels.
fn golden() -> Program {
    let wanted = |seed: &u64| {
        let shape = network(*seed, 3).layers[0].record.shape();
        shape == brooklet::Shape::new(8, 8, 3)
    };
    network((0..).find(wanted).expect("one of the many"), 3)
}

/// Everything that running a 16-bit stream relies on is checked.
#[test]
fn a_stream_in_16_bits_is_checked() {
    let program = with_stream16(golden(), 1);
    let makes = |program: &Program| program.layers.iter().position(|of| of.record.is_stream16());
    let joins = |of: &Layer| of.record.is_stream16() && of.record.shortcut().is_some();
    let (first, join) = (makes(&program).unwrap(), program.layers.iter().position(joins).unwrap());
    let stream16 = flags::STREAM16;
    let fault = |layer: usize, change: &dyn Fn(&mut LayerRecord)| {
        let mut program = program.clone();
        change(&mut program.layers[layer].record);
        match Model::parse(&model_file(&program)) {
            Err(Error::Layer { fault, .. }) => fault,
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let logits = program.logits;
    let scores = |record: &mut LayerRecord| {
        record.flags |= stream16;
        record.zero_point = 1;
    };
    assert_eq!(fault(logits, &scores), Fault::Stream16);
    let pool = |of: &Layer| of.record.operator() == Operator::AveragePool;
    let pool = program.layers.iter().position(pool).unwrap();
    assert_eq!(fault(pool, &|record| record.flags |= stream16), Fault::Stream16);
    assert_eq!(fault(first, &|record| record.join_bits = 11), Fault::Quantization);
    assert_eq!(fault(join, &|record| record.multiplier_shifts[0] = 1), Fault::Quantization);
    for factor in [-1, 1 << 15] {
        let change = |record: &mut LayerRecord| record.multiplier_mantissas[0].set(factor);
        assert_eq!(fault(join, &change), Fault::Quantization);
    }
    for offset in [i32::MIN, -(1 << 22), 1 << 22] {
        let change = |record: &mut LayerRecord| record.multiplier_mantissas[1].set(offset);
        assert_eq!(fault(join, &change), Fault::Quantization);
    }
    let third = |record: &mut LayerRecord| record.multiplier_mantissas[2].set(1);
    assert_eq!(fault(join, &third), Fault::Unused);
    // Rows with two bytes for each value.
    let narrow = golden();
    let file = model_file(&narrow);
    let model = Model::parse(&file).unwrap();
    assert_eq!(2 * model.layer(first).row_bytes(), program.layers[first].record.row_bytes());
}
