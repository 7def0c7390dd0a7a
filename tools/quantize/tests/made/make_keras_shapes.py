"""Makes the TFLite and Keras networks of this folder that change shapes, and their outputs.

For maintainers: pip install numpy tensorflow-cpu keras; python make_keras_shapes.py. Weights are
drawn by lot. The images are those of make.py.
"""

# It keeps TensorFlow quiet, so it comes first.
import keras_files
import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

rng = np.random.default_rng(2)


def tflite(model, name, shape=None):
    """The converter's file, and the outputs of Keras."""
    keras_files.save(rng, model, name, [], shape)
    with open(f"{name}.tflite", "wb") as file:
        file.write(tf.lite.TFLiteConverter.from_keras_model(model).convert())


# Features that become an image.
i = L.Input((114,))
x = L.Conv2D(4, (4, 3), 2, activation="relu")(L.Reshape((19, 6, 1))(i))
tflite(keras.Model(i, L.Dense(3)(L.GlobalAveragePooling2D()(x))), "keras_features",
       (19, 6, 1))

# The same for a vector whose channels come first.
i = L.Input((96,))
x = L.Permute((2, 3, 1))(L.Reshape((2, 8, 6))(i))
x = L.Conv2D(4, 3, activation="relu")(x)
tflite(keras.Model(i, L.Dense(3)(L.GlobalAveragePooling2D()(x))), "keras_first",
       (96, 1, 1))

# Blue, green, red; a crop; a part of the channels; every second row from the second.
i = L.Input((12, 12, 3))
x = L.Conv2D(6, 3, activation="relu")(L.Cropping2D(((1, 0), (0, 2)))(i[..., ::-1]))
x = L.Conv2D(4, 1)(x[:, 1::2, :, 1:5])
x = L.Maximum()([x, L.Conv2D(4, 1)(x)])
x = L.ReLU(max_value=1.0)(x) + keras.ops.abs(x)
scores = keras.ops.exp(L.Dense(6)(L.GlobalAveragePooling2D()(x)))
tflite(keras.Model(i, L.Reshape((3, 2))(scores)), "keras_parts")

# Layers for the image, and an addition of one value a channel.
i = L.Input((3, 14, 13))
x = L.CenterCrop(10, 12)(L.Resizing(14, 13)(L.Permute((2, 3, 1))(i)))
x = L.Conv2D(4, 3, activation="exponential")(x)
x = L.Add()([L.GlobalAveragePooling2D(keepdims=True)(x), x])
keras_files.save(
    rng,
    keras.Model(i, L.Dense(3, activation="hard_tanh")(L.GlobalAveragePooling2D()(x))),
    "keras_image",
    ["keras"],
    # The order of the input, whose channels come first.
    (3 * 14 * 13, 1, 1),
)
