//! The parts of a file that are used.

use ndarray::Array4;

use super::schema::{Table, corrupt, element, element_name};
use crate::error::{Problem, unsupported};
use crate::network::{Shape, check_extents};

/// The only graph of a file.
pub(super) struct Graph<'a> {
    pub(super) tensors: Vec<Tensor<'a>>,
    pub(super) operators: Vec<Operator<'a>>,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
}

/// A tensor of the file; a tensor without data is computed.
pub(super) struct Tensor<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<i32>,
    /// An [`element`] type.
    pub(super) kind: i8,
    pub(super) data: &'a [u8],
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i64>,
    /// The dimension along which the scales vary.
    pub(super) quantized_dimension: i32,
}

/// An operator of the file.
pub(super) struct Operator<'a> {
    pub(super) code: i32,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
    pub(super) options: Option<Table<'a>>,
}

/// A tensor's index; an input that is left out has none.
pub(super) fn index(tensor: i32) -> Result<usize, Problem> {
    usize::try_from(tensor).map_err(|_| corrupt("an operator's input is missing"))
}

impl<'a> Graph<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Graph<'a>, Problem> {
        if bytes.get(4..8) != Some(b"TFL3") {
            return Err(corrupt("it does not begin with the identifier TFL3"));
        }
        let model = Table::root(bytes)?;
        let (codes, graphs, buffers) = (model.tables(1)?, model.tables(2)?, model.tables(4)?);
        let [graph] = graphs[..] else {
            return Err(unsupported(
                format!("it has {} graphs", graphs.len()),
                "convert a network without control flow",
            ));
        };
        let tensor = |table: Table<'a>| {
            let buffer = buffers.get(table.number(2, 0u32)? as usize);
            let data = buffer.map_or(Ok(&[][..]), |buffer| buffer.bytes(0))?;
            let quantization = table.table(4)?;
            let (scales, zero_points, dimension) = match quantization {
                Some(q) => (q.vector(2)?, q.vector(3)?, q.number(6, 0)?),
                None => (vec![], vec![], 0),
            };
            Ok(Tensor {
                name: table.text(3)?.into(),
                shape: table.vector(0)?,
                kind: table.number(1, 0)?,
                data,
                scales,
                zero_points,
                quantized_dimension: dimension,
            })
        };
        let operator = |table: Table<'a>| {
            let code = codes.get(table.number(0, 0u32)? as usize);
            let code = code.ok_or_else(|| corrupt("an operator without a code"))?;
            // Older files only have the first field, as codes fit into a byte then.
            let code = code.number(3, 0i32)?.max(code.number(0, 0i8)?.into());
            Ok(Operator {
                code,
                inputs: table.vector(1)?,
                outputs: table.vector(2)?,
                options: table.table(4)?,
            })
        };
        Ok(Graph {
            tensors: graph.tables(0)?.into_iter().map(tensor).collect::<Result<_, Problem>>()?,
            operators: graph
                .tables(3)?
                .into_iter()
                .map(operator)
                .collect::<Result<_, Problem>>()?,
            inputs: graph.vector(1)?,
            outputs: graph.vector(2)?,
        })
    }

    pub(super) fn tensor(&self, at: i32) -> Result<&Tensor<'a>, Problem> {
        self.tensors.get(index(at)?).ok_or_else(|| corrupt(format!("there is no tensor {at}")))
    }

    /// The name of an operator's output, shortened, since converters join the names of all
    /// operators that they fused.
    pub(super) fn source(&self, operator: &Operator<'_>) -> String {
        let output = operator.outputs.first().and_then(|&at| self.tensor(at).ok());
        let name = output.map_or("", |tensor| tensor.name.as_str());
        name.split(';').next().unwrap_or(name).to_owned()
    }
}

impl Tensor<'_> {
    /// The shape as height, width, channels, without the batch of one; missing dimensions are 1.
    pub(super) fn map_shape(&self) -> Result<Shape, Problem> {
        let extent = |size: i32| usize::try_from(size).ok().filter(|&size| size > 0);
        let sizes: Option<Vec<usize>> = self.shape.iter().map(|&size| extent(size)).collect();
        let shape = match sizes.as_deref() {
            Some(&[1, height, width, channels]) => [height, width, channels],
            // A single dimension is the width.
            Some(&[1, width, channels]) => [1, width, channels],
            Some(&[1, channels]) | Some(&[channels]) => [1, 1, channels],
            Some(_) => {
                return Err(unsupported(
                    format!("a map of shape {:?}", self.shape),
                    "convert the network with a batch of one",
                ));
            }
            None => {
                return Err(Problem::DynamicShape { shape: format!("{:?}", self.shape) });
            }
        };
        check_extents(&shape, "map")?;
        Ok(shape)
    }

    pub(super) fn require(&self, kind: i8, what: &str) -> Result<(), Problem> {
        if self.kind == kind {
            return Ok(());
        }
        let remedy = "convert the network to full int8 with TensorFlow 2's converter";
        Err(unsupported(format!("{what} of element type {}", element_name(self.kind)), remedy))
    }

    pub(super) fn words<const N: usize, T>(&self, value: impl Fn([u8; N]) -> T) -> Vec<T> {
        self.data.as_chunks().0.iter().map(|bytes| value(*bytes)).collect()
    }

    /// A list of integers, such as paddings.
    pub(super) fn ints(&self) -> Result<Vec<i64>, Problem> {
        match self.kind {
            element::INT32 => Ok(self.words(|b| i32::from_le_bytes(b).into())),
            element::INT64 => Ok(self.words(i64::from_le_bytes)),
            other => Err(corrupt(format!("a list of integers has element type {other}"))),
        }
    }

    /// The scale and zero point of an int8 map, or of an int16 map, whose zero point must be 0.
    pub(super) fn quantization(&self) -> Result<(f32, i32), Problem> {
        let int16 = self.kind == element::INT16;
        if !int16 {
            self.require(element::INT8, "a map")?;
        } else if self.zero_points.iter().any(|&zero| zero != 0) {
            return Err(corrupt("a map of int16 with a zero point"));
        }
        let (&[scale], &[zero_point]) = (&self.scales[..], &self.zero_points[..]) else {
            return Err(corrupt(format!("{} scales for a map", self.scales.len())));
        };
        if !(scale.is_finite() && scale > 0.0) {
            return Err(corrupt(format!("a scale of {scale}")));
        }
        let zero_point = i8::try_from(zero_point)
            .map_err(|_| corrupt(format!("a zero point of {zero_point}")))?;
        Ok((scale, zero_point.into()))
    }

    /// Weights of a depthwise convolution, `[1, height, width, out]` in the file, as OHWI.
    pub(super) fn depthwise_weights<T: Clone>(&self, values: Vec<T>) -> Result<Array4<T>, Problem> {
        let dims: Vec<usize> =
            self.shape.iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
        let wrong = || corrupt(format!("depthwise weights of shape {dims:?}"));
        let &[1, height, width, out] = &dims[..] else { return Err(wrong()) };
        let weights =
            Array4::from_shape_vec((1, height, width, out), values).map_err(|_| wrong())?;
        Ok(weights.permuted_axes([3, 1, 2, 0]).as_standard_layout().into_owned())
    }

    /// Weights as OHWI; the two dimensions of a fully connected layer become the map's four. Its
    /// inputs may be in the order of channels, rows and columns.
    pub(super) fn weights<T: Clone>(
        &self,
        values: Vec<T>,
        input: Shape,
        channels_first: bool,
    ) -> Result<Array4<T>, Problem> {
        let dims: Vec<usize> =
            self.shape.iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
        let shape = match dims[..] {
            [out, height, width, depth] => (out, height, width, depth),
            [out, inputs] if channels_first && inputs == input.iter().product::<usize>() => {
                let [height, width, channels] = input;
                let weights = Array4::from_shape_vec((out, channels, height, width), values)
                    .map_err(|_| corrupt(format!("weights of shape {dims:?}")))?;
                return Ok(weights.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned());
            }
            [out, inputs] if inputs == input[2] && !channels_first => (out, 1, 1, inputs),
            [out, inputs] if inputs == input.iter().product::<usize>() => {
                (out, input[0], input[1], input[2])
            }
            _ => {
                return Err(corrupt(format!("weights of shape {dims:?} for a map of {input:?}")));
            }
        };
        let count = values.len();
        Array4::from_shape_vec(shape, values)
            .map_err(|_| corrupt(format!("{count} weights for shape {shape:?}")))
    }
}
