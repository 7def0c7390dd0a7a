"""Makes Keras networks of this folder that end in maps, and the same in TFLite, and their outputs.

For maintainers: pip install numpy tensorflow-cpu keras; python make_maps_keras.py. Weights are drawn
by lot, those of batch norms as well. The images are those of make.py.
"""

# It keeps TensorFlow quiet, so it comes first.
import keras_files
import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

rng = np.random.default_rng(0)


def save(model, name):
    """A TFLite file. Its values are those of Keras, but its outputs may be in another order."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    with open(f"{name}.tflite", "wb") as out:
        out.write(converter.convert())
    reader = tf.lite.Interpreter(f"{name}.tflite")
    reader.allocate_tensors()
    rows = []
    for image in keras_files.image(*model.input_shape[1:]):
        reader.set_tensor(reader.get_input_details()[0]["index"], image[None])
        reader.invoke()
        details = reader.get_output_details()
        rows.append([reader.get_tensor(at["index"]).astype(np.float32) for at in details])
    outputs = {f"y{n}": np.array([row[n].ravel() for row in rows]) for n in range(len(rows[0]))}
    np.savez_compressed(f"{name}.npz", **outputs)


def body(i):
    x = L.Conv2D(4, 3, 2, padding="same", activation="relu6")(i)
    for filters in (6, 8):
        x = L.Conv2D(3 * x.shape[-1], 1, activation="relu6")(x)
        x = L.BatchNormalization()(L.DepthwiseConv2D(3, 2, padding="same")(x))
        x = L.Conv2D(filters, 1)(L.ReLU(6.0)(x))
    return x


def small(head):
    i = L.Input((24, 32, 3))
    return keras.Model(i, head(body(i)))


# A class for each cell, as FOMO has it; the same in a list of cells; a heatmap, and offsets.
def scores(x):
    return L.Conv2D(3, 1)(x)


def heat(x):
    return [L.Conv2D(1, 1, activation="sigmoid")(x), L.Conv2D(4, 3, padding="same")(x)]


def cells(x):
    return L.Activation("softmax")(L.Reshape((12, 3))(scores(x)))


all_of_them = small(lambda x: [L.Softmax()(scores(x)), cells(x), *heat(x)])
keras_files.save(rng, all_of_them, "maps_keras", ["keras"])
for name, head in (("fomo", lambda x: L.Softmax()(scores(x))), ("cells", cells), ("heat", heat)):
    save(small(head), f"maps_lite_{name}")
