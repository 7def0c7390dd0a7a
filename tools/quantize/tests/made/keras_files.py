"""What the scripts that make Keras networks share."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np


def image(height, width, channels):
    """Two images of sines, in the order channel, row, column."""
    index = np.arange(2 * channels * height * width, dtype=np.float32)
    x = np.sin(index * np.float32(0.37)).reshape(2, channels, height, width)
    return x.transpose(0, 2, 3, 1)


def save(rng, model, name, kinds, shape=None):
    """Draws weights; saves the model in files of these kinds, and its outputs for the two images."""
    for weight in model.weights:
        values = rng.standard_normal(weight.shape) / np.sqrt(max(1, np.prod(weight.shape[:-1])))
        if "variance" in weight.name:
            values = np.abs(values) + 0.5
        if weight.name == "count":
            values = np.array(10)
        weight.assign(values)
    x = image(*(shape or model.input_shape[1:]))
    y = model.predict(x.reshape((2,) + model.input_shape[1:]), verbose=0)
    y = y if isinstance(y, list) else [y]
    np.savez_compressed(f"{name}.npz", **{f"y{n}": y.reshape(2, -1) for n, y in enumerate(y)})
    for kind in kinds:
        model.save(f"{name}.{kind}")
