"""Makes files of single operators with TensorFlow's converter, and TFLM's answers.

For maintainers: pip install numpy tensorflow-cpu tflite-micro; python make.py [OPERATOR ...].
OPERATOR.npz has many int8 files of an operator, one after the other in `files`, with their `sizes`, and
in `answers` what TFLM computes of one input each. The input's bytes are those of `image`. Shapes,
ranges and parameters are drawn by lot.
"""

import multiprocessing
import os
import sys
import zlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
from tflite_micro.python.tflite_micro import runtime

COUNT = 208


def image(number, size):
    """Bytes of the input of a file, by its number."""
    index = np.arange(size, dtype=np.uint64) + np.uint64(number * 7919)
    return ((index * np.uint64(2654435761)) >> np.uint64(11)).astype(np.uint8).view(np.int8)


def levels(file, x):
    """The input of 16 bits for pixels, which are bytes + 128."""
    interpreter = tf.lite.Interpreter(model_content=file)
    scale = np.float64(interpreter.get_input_details()[0]["quantization"][0])
    return np.round((x.astype(np.float64) + 128) / scale).clip(-32768, 32767).astype(np.int16)


class Lot:
    """The contents of one file."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def int(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def real(self, low, high):
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def floats(self, *shape, scale=1.0):
        return tf.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def pick(self, *of):
        return of[self.int(0, len(of) - 1)]

    def map(self, rows=(1, 9), columns=(1, 9), channels=(1, 9)):
        return [self.int(*rows), self.int(*columns), self.int(*channels)]

    def table_map(self):
        """About as many pixels as a byte has values."""
        return self.map((3, 9), (3, 9), (3, 9))

    def range(self, largest=30.0):
        low, high = -self.real(0.02, largest), self.real(0.02, largest)
        return self.pick((low, high), (low, high), (0.0, high), (low, -low))


def function(compute, largest=30.0):
    return lambda lot: (lot.table_map(), lot.range(largest), compute(lot))


def leaky(lot):
    slope = lot.pick(0.1, 0.2, 0.3, 0.01, lot.real(0.001, 1.5), -lot.real(0.01, 1.0))
    return lambda x: tf.nn.leaky_relu(x, slope)


def prelu(lot):
    shape = lot.table_map()
    layer = tf.keras.layers.PReLU(shared_axes=[1, 2], alpha_initializer="zeros")
    layer.build([1] + shape)
    slopes = lot.floats(1, 1, shape[2], scale=lot.real(0.05, 1.0))
    layer.alpha.assign(tf.abs(slopes) if lot.int(0, 1) else slopes)
    return shape, lot.range(), lambda x: layer(x)


def constant(operation):
    def make(lot):
        shape = lot.table_map()
        several = lot.int(0, 3) > 0
        value = lot.floats(shape[2] if several else 1, scale=lot.real(0.05, 5.0))
        rectified = lot.int(0, 3) == 0
        after = tf.nn.relu if rectified else tf.identity
        return shape, lot.range(), lambda x: after(operation(x, value))

    return make


def maps(operation):
    """An operator of a map and of a function of it, at another scale."""

    def make(lot):
        shape = lot.table_map()
        other = lot.pick(tf.nn.relu, tf.nn.tanh, tf.nn.sigmoid, lambda x: tf.nn.leaky_relu(x, -0.3))
        swapped, rectified = lot.int(0, 1), lot.int(0, 3) == 0
        after = tf.nn.relu if rectified else tf.identity

        def compute(x):
            a, b = (other(x), x) if swapped else (x, other(x))
            return after(operation(a, b))

        return shape, lot.range(8.0), compute

    return make


def gate(lot):
    shape = lot.table_map()
    gate = lot.pick(tf.nn.sigmoid, tf.identity, tf.nn.relu)
    swapped = lot.int(0, 1)

    def compute(x):
        mean = gate(tf.reduce_mean(x, [1, 2], keepdims=True))
        return mean * x if swapped else x * mean

    return shape, lot.range(8.0), compute


def concatenation(lot):
    shape = lot.table_map()
    others = [tf.nn.relu, tf.nn.tanh, tf.nn.sigmoid, lambda x: tf.nn.leaky_relu(x, -0.3)]
    count = lot.int(1, 3)
    others = [others[lot.int(0, 3)] for _ in range(count)]
    return shape, lot.range(8.0), lambda x: tf.concat([x] + [other(x) for other in others], -1)


def pool(operation):
    def make(lot):
        shape = lot.map((2, 14), (2, 14), (1, 5))
        padding = lot.pick("SAME", "VALID")
        kernel = [lot.int(1, min(7, shape[0])), lot.int(1, min(7, shape[1]))]
        stride = [lot.int(1, 4), lot.int(1, 4)]
        return shape, lot.range(), lambda x: operation(x, kernel, stride, padding)

    return make


def window(lot, shape):
    """Kernel, strides, padding and dilation; a stride or a dilation."""
    padding = lot.pick("SAME", "VALID")
    kernel = [lot.int(1, min(5, shape[0])), lot.int(1, min(5, shape[1]))]
    stride = lot.pick(1, 1, 2, 3)
    dilation = 1
    if stride == 1 and lot.int(0, 3) == 0:
        dilation = lot.int(1, 2)
        kernel = [min(kernel[0], (shape[0] + 1) // 2), min(kernel[1], (shape[1] + 1) // 2)]
    return kernel, stride, padding, dilation


def after(lot):
    return lot.pick(tf.identity, tf.nn.relu, tf.nn.relu6)


def conv(lot):
    shape = lot.map((2, 10), (2, 10), (1, 6))
    kernel, stride, padding, dilation = window(lot, shape)
    filters, then = lot.int(1, 7), after(lot)
    weights = lot.floats(*kernel, shape[2], filters, scale=lot.real(0.01, 1.0))
    bias = lot.floats(filters, scale=lot.real(0.01, 2.0))

    def compute(x):
        y = tf.nn.conv2d(x, weights, stride, padding, dilations=dilation)
        return then(y + bias)

    return shape, lot.range(), compute


def depthwise(lot):
    shape = lot.map((2, 10), (2, 10), (2, 6))
    kernel, stride, padding, dilation = window(lot, shape)
    multiplier, then = lot.pick(1, 1, 2, 3), after(lot)
    weights = lot.floats(*kernel, shape[2], multiplier, scale=lot.real(0.01, 1.0))
    bias = lot.floats(shape[2] * multiplier, scale=lot.real(0.01, 2.0))

    def compute(x):
        strides = [1, stride, stride, 1]
        y = tf.nn.depthwise_conv2d(x, weights, strides, padding, dilations=[dilation] * 2)
        return then(y + bias)

    return shape, lot.range(), compute


def mean(lot):
    shape, keep = lot.map((1, 14), (1, 14), (1, 8)), bool(lot.int(0, 1))
    return shape, lot.range(), lambda x: tf.reduce_mean(x, [1, 2], keepdims=keep)


def pad(lot):
    shape = lot.map()
    amounts = [[0, 0], [lot.int(0, 3), lot.int(0, 3)], [lot.int(0, 3), lot.int(0, 3)], [0, 0]]
    return shape, lot.range(), lambda x: tf.pad(x, amounts)


def linear(over_map):
    def make(lot):
        shape = lot.map((1, 6), (1, 6), (1, 9))
        inputs = shape[2] if over_map else int(np.prod(shape))
        filters, then = lot.int(1, 11), after(lot)
        weights = lot.floats(inputs, filters, scale=lot.real(0.01, 1.0))
        bias = lot.floats(filters, scale=lot.real(0.01, 2.0))

        def compute(x):
            x = x if over_map else tf.reshape(x, [1, inputs])
            return then(tf.matmul(x, weights) + bias)

        return shape, lot.range(), compute

    return make


def softmax(lot):
    shape = [1, 1, lot.int(2, 40)]
    return shape, lot.range(), lambda x: tf.nn.softmax(tf.reshape(x, [1, shape[2]]))


def maximum(lot):
    shape, keep = lot.map((1, 9), (1, 9), (1, 8)), bool(lot.int(0, 1))
    return shape, lot.range(), lambda x: tf.reduce_max(x, [1, 2], keepdims=keep)


def hard_swish(x):
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def wide(lot):
    """A small network of the operators that are quantized to 16 bits."""
    shape = lot.map((4, 9), (4, 9), (1, 4))
    first, second, last = lot.int(2, 7), lot.pick(1, 2), lot.int(2, 9)
    stem = lot.floats(3, 3, shape[2], first, scale=lot.real(0.05, 0.6))
    inner = lot.floats(3, 3, first, first, scale=lot.real(0.05, 0.6))
    shortcut = lot.floats(1, 1, first, first, scale=lot.real(0.1, 0.6))
    deep = lot.floats(3, 3, first, 1, scale=lot.real(0.1, 0.6))
    linear = lot.floats(first, last, scale=lot.real(0.1, 0.6))
    bias = [lot.floats(size, scale=0.3) for size in (first, first, first, last)]
    pools = lot.int(0, 1)

    def compute(x):
        x = tf.nn.relu(tf.nn.conv2d(x, stem, 1, "SAME") + bias[0])
        if pools:
            x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        y = tf.nn.conv2d(x, inner, second, "SAME") + bias[1]
        x = x if second == 1 else tf.nn.conv2d(x, shortcut, second, "SAME")
        x = tf.nn.relu(x + y)
        x = tf.nn.depthwise_conv2d(x, deep, [1] * 4, "SAME") + bias[2]
        return tf.matmul(tf.reduce_mean(x, [1, 2]), linear) + bias[3]

    return shape, (0.0, 255.0), compute


OPERATORS = {
    "logistic": function(lambda _: tf.sigmoid),
    "tanh": function(lambda _: tf.tanh),
    "hard_swish": function(lambda _: hard_swish, 20.0),
    "leaky_relu": function(leaky),
    "prelu": prelu,
    "relu": function(lambda _: tf.nn.relu),
    "relu6": function(lambda _: tf.nn.relu6),
    "mul": maps(tf.multiply),
    "mul_channels": gate,
    "mul_constant": constant(tf.multiply),
    "add": maps(tf.add),
    "add_constant": constant(tf.add),
    "sub": maps(tf.subtract),
    "sub_constant": constant(tf.subtract),
    "sub_from_constant": constant(lambda x, value: value - x),
    "concatenation": concatenation,
    "average_pool_2d": pool(tf.nn.avg_pool2d),
    "max_pool_2d": pool(tf.nn.max_pool2d),
    "conv_2d": conv,
    "depthwise_conv_2d": depthwise,
    "mean": mean,
    "reduce_max": maximum,
    "pad": pad,
    "fully_connected": linear(False),
    "fully_connected_map": linear(True),
    "softmax": softmax,
    "wide": wide,
}


def converted(lot, shape, ends, compute, bits):
    signature = [tf.TensorSpec([1] + shape, tf.float32)]
    graph = tf.function(compute, input_signature=signature, autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    images = []
    for _ in range(2):
        x = lot.rng.uniform(*ends, [1] + shape).astype(np.float32)
        x.flat[0], x.flat[-1] = ends
        images.append([x])
    converter.representative_dataset = lambda: iter(images)
    if bits == 8:
        operators, kind = tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8
    else:
        operators = (
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        )
        kind = tf.int16
    converter.target_spec.supported_ops = [operators]
    converter.inference_input_type = converter.inference_output_type = kind
    return converter.convert()


def answer(pipe, file, x):
    interpreter = runtime.Interpreter.from_bytes(file)
    interpreter.set_input(x, 0)
    interpreter.invoke()
    pipe.send(interpreter.get_output(0).reshape(-1))


def by_tflm(file, x):
    """The answer of TFLM; None if it refuses, by an error or by the end of its process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=answer, args=(there, file, x))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        return None
    finally:
        process.join()


def wraps(file):
    """Whether a factor is so large that sums shifted left can exceed 32 bits, at which TFLM wraps:
    that of a layer whose outputs are all rectified to zero."""
    interpreter = tf.lite.Interpreter(model_content=file)
    scales = {
        tensor["index"]: tensor["quantization_parameters"]["scales"]
        for tensor in interpreter.get_tensor_details()
    }
    for operator in interpreter._get_ops_details():
        if operator["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            x, weights = operator["inputs"][:2]
            factor = scales[x].max() * scales[weights].max() / scales[operator["outputs"][0]].max()
            if factor > 64:
                return True
    return False


def make(name):
    files, answers = [], []
    seed = 0
    # Networks need more memory than operators.
    while len(files) < (COUNT if name != "wide" else 60):
        seed += 1
        lot = Lot([zlib.crc32(name.encode()), seed])
        shape, ends, compute = OPERATORS[name](lot)
        if len(files) == 0 and seed > 40:
            raise SystemExit(f"{name}: TFLM runs none")
        if ends[0] >= ends[1]:
            continue
        bits = 16 if name == "wide" else 8
        file = converted(lot, shape, ends, compute, bits)
        x = image(len(files), int(np.prod(shape))).reshape([1] + shape)
        if bits == 16:
            x = levels(file, x)
        y = by_tflm(file, x)
        if y is None or wraps(file):
            print(f"{name} {seed}: left out", flush=True)
            continue
        answers.append(y)
        files.append(np.frombuffer(file, np.uint8))
    sizes = np.array([[len(file), len(answer)] for file, answer in zip(files, answers)], np.uint32)
    np.savez_compressed(
        f"{name}.npz", files=np.concatenate(files), sizes=sizes, answers=np.concatenate(answers)
    )
    print(name, seed, os.path.getsize(f"{name}.npz"), flush=True)


for name in sys.argv[1:] or OPERATORS:
    make(name)
