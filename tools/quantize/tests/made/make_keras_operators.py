"""Makes the Keras networks of this folder whose layers are operators, in what Keras 2 and Keras 3 write,
and what they compute.

For maintainers: pip install numpy tensorflow-cpu keras tf_keras; python make_keras_operators.py.
Weights are drawn by lot, those of batch norms as well. The images are those of make.py.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tf_keras

rng = np.random.default_rng(1)


def image(height, width, channels):
    """Two images of sines, in the order channel, row, column."""
    index = np.arange(2 * channels * height * width, dtype=np.float32)
    x = np.sin(index * np.float32(0.37)).reshape(2, channels, height, width)
    return x.transpose(0, 2, 3, 1)


def save(model, name, kinds):
    for weight in model.weights:
        values = rng.standard_normal(weight.shape) / np.sqrt(max(1, np.prod(weight.shape[:-1])))
        if "variance" in weight.name:
            values = np.abs(values) + 0.5
        weight.assign(values)
    y = np.array(model(image(*model.input_shape[1:]), training=False))
    np.savez_compressed(f"{name}.npz", y0=y.reshape(2, -1))
    for kind in kinds:
        model.save(f"{name}.{kind}")


def network(K, maximum):
    """Operators of tensors and numbers, gates, and a model that is used twice in another."""
    L = K.layers
    i = K.Input((12, 12, 3))
    x = (i - 0.25) / 0.5
    # Names of Keras 2 may have slashes.
    part = "/" if K is tf_keras else "_"
    x = L.Conv2D(6, 3, 2, padding="same", use_bias=False, name=f"first{part}conv")(x)
    x = L.BatchNormalization(name=f"first{part}norm")(x)
    # Hard-swish in four operators.
    x = x * (L.ReLU(6.0)(x + 3.0) * (1.0 / 6.0))
    j = K.Input((6, 6, 6))
    y = L.Conv2D(6, 3, padding="same", activation="selu")(j)
    block = K.Model(j, L.Add()([j, L.BatchNormalization()(y)]))
    x = block(block(x))
    x = x + 0.5 * L.ReLU(2.0, 0.1)(L.Conv2D(6, 1)(x))
    # One value a pixel.
    x = L.Multiply()([x, L.Conv2D(1, 3, padding="same", activation="sigmoid")(x)])
    x = maximum(x, L.Conv2D(6, 1)(x))
    return K.Model(i, L.Dense(4)(L.GlobalAveragePooling2D()(x)))


save(network(keras, lambda a, b: keras.layers.Maximum()([a, b])), "operators", ["keras"])
save(network(tf_keras, lambda a, b: tf_keras.layers.Maximum()([a, b])), "operators2", ["keras", "h5"])
