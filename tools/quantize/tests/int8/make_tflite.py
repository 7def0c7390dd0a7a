"""Makes small int8 networks with TensorFlow's converter, and TFLM's answers.

For maintainers: pip install numpy tensorflow-cpu tflite-micro; python make_tflite.py. Weights are
drawn by lot. The images are sines; NAME.npz has the answers of TFLM, one row for each image: bytes
and reals.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L
from tflite_micro.python.tflite_micro import runtime

COUNT = 4


def images(shape, phase=0.37):
    size = COUNT * int(np.prod(shape))
    return np.sin(np.arange(size, dtype=np.float32) * np.float32(phase)).reshape(COUNT, *shape)


def save(name, shape, build, kind=tf.int8):
    keras.utils.set_random_seed(1)
    x = L.Input(shape)
    model = keras.Model(x, build(x))
    for layer in model.layers:
        if getattr(layer, "use_bias", False):
            weights, bias = layer.get_weights()
            layer.set_weights([weights, np.random.normal(0, 0.3, bias.shape)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    data = np.concatenate([images(shape), 1.3 * images(shape, 0.91)])
    converter.representative_dataset = lambda: ([row[None]] for row in data)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = kind
    file = converter.convert()
    with open(f"{name}.tflite", "wb") as out:
        out.write(file)
    reader = tf.lite.Interpreter(model_content=file)
    scale, zero = reader.get_input_details()[0]["quantization"]
    least = 0 if kind == tf.uint8 else -128
    levels = np.round(images(shape) / scale + zero).clip(least, least + 255)
    rows = []
    for image in levels.astype(kind.as_numpy_dtype):
        engine = runtime.Interpreter.from_bytes(file)
        engine.set_input(image[None], 0)
        engine.invoke()
        rows.append(engine.get_output(0).reshape(-1).astype(np.float32) - (128 + least))
    scale, zero = reader.get_output_details()[0]["quantization"]
    rows = np.array(rows)
    reals = (rows - (zero - 128 - least)) * np.float32(scale)
    np.savez_compressed(f"{name}.npz", bytes=rows, reals=reals.astype(np.float32))


def flat(x):
    """ELU, which converters leave in float; a linear layer over 40 columns."""
    x = L.Conv1D(6, 3, padding="same", activation="elu")(x)
    return L.Dense(5)(L.Flatten()(L.Conv1D(4, 3, padding="same", activation="elu")(x)))


def larger(x):
    """The larger and the smaller of two maps; a maximum over 34 columns."""
    a = L.Conv2D(4, 3, padding="same")(x)
    b = L.Conv2D(4, 3, padding="same")(x)
    x = L.Concatenate()([L.Maximum()([a, b]), L.Minimum()([a, b])])
    return L.Dense(5)(L.GlobalMaxPooling2D()(L.Conv2D(6, 1, activation="relu")(x)))


def halves(x):
    """Channels in halves, and rows in thirds."""
    a, b = keras.ops.split(L.Conv2D(8, 3, padding="same", activation="relu")(x), 2, -1)
    x = L.Concatenate()([a, L.Conv2D(4, 3, padding="same", activation="relu")(b)])
    upper, middle, lower = keras.ops.split(x, 3, 1)
    x = L.Add()([L.Conv2D(4, 1)(upper), L.Conv2D(4, 1)(middle)])
    return L.Dense(5)(L.GlobalAveragePooling2D()(L.Concatenate()([x, lower])))


def parts(x):
    """Channels in parts of different sizes, as in Res2Net."""
    x = L.Conv2D(9, 3, padding="same", activation="relu")(x)
    a, b, c = keras.ops.split(x, [2, 5], -1)
    b = L.Conv2D(3, 3, padding="same", activation="relu")(b)
    c = L.Conv2D(4, 3, padding="same", activation="relu")(L.Concatenate()([b, c]))
    return L.Dense(5)(L.GlobalAveragePooling2D()(L.Concatenate()([a, b, c])))


def unit(x):
    """A vector of length 1, whose length is computed in int8."""
    x = L.GlobalAveragePooling2D()(L.Conv2D(6, 3, strides=2, activation="relu")(x))
    return L.UnitNormalization()(L.Dense(5)(x))


def upright(x):
    """An image of uint8 with its channels first."""
    x = L.Conv2D(4, 3, activation="relu")(L.Permute((2, 3, 1))(x))
    return L.Dense(5)(L.GlobalAveragePooling2D()(x))


def long(x):
    """Kernels of 21 and 18 columns, with and without a stride."""
    x = L.Conv1D(4, 21, strides=2, padding="same", activation="relu")(x)
    return L.Dense(3)(L.Flatten()(L.Conv1D(3, 18, activation="relu")(x)))


def fomo(x, end=lambda x: x):
    """A class for each cell, from MobileNetV2's blocks."""
    x = L.Conv2D(4, 3, 2, padding="same", activation="relu6")(x)
    for filters in (6, 8):
        x = L.Conv2D(3 * x.shape[-1], 1, activation="relu6")(x)
        x = L.ReLU(6.0)(L.DepthwiseConv2D(3, 2, padding="same")(x))
        x = L.Conv2D(filters, 1)(x)
    x = L.Conv2D(6, 1, activation="relu")(x)
    return end(L.Conv2D(3, 1)(x))


def fomo_softmax(x):
    return fomo(x, L.Softmax())


def fomo_cells(x):
    return fomo(x, lambda x: L.Softmax()(L.Reshape((12, 3))(x)))


def fomo_sigmoid(x):
    return fomo(x, L.Activation("sigmoid"))


save("flat", (40, 3), flat)
save("fomo", (24, 32, 3), fomo)
save("fomo_softmax", (24, 32, 3), fomo_softmax)
save("fomo_cells", (24, 32, 3), fomo_cells)
save("fomo_sigmoid", (24, 32, 3), fomo_sigmoid)
save("long", (75, 2), long)
save("larger", (6, 34, 2), larger)
save("split_halves", (12, 12, 3), halves)
save("split_parts", (12, 12, 3), parts)
save("unit", (9, 9, 3), unit)
save("upright", (3, 8, 9), upright, tf.uint8)
