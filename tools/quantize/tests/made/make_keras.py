"""Makes the Keras networks of this folder, and their outputs in Keras.

For maintainers: pip install numpy tensorflow-cpu keras; python make_keras.py. Weights are drawn by
lot, those of batch norms as well. The images are those of make.py.
"""

from functools import partial

# It keeps TensorFlow quiet, so it comes first.
import keras_files
import keras
import numpy as np
from keras import layers as L

rng = np.random.default_rng(0)

save = partial(keras_files.save, rng)


def residual(x, filters, stride=1):
    y = L.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
    y = L.ReLU()(L.BatchNormalization()(y))
    y = L.BatchNormalization()(L.Conv2D(filters, 3, padding="same", use_bias=False)(y))
    if stride != 1:
        x = L.BatchNormalization()(L.Conv2D(filters, 1, stride, use_bias=False)(x))
    return L.Activation("relu")(L.Add()([x, y]))


# A residual network, its image scaled inside of it; layers have names of their own.
i = L.Input((16, 16, 3), name="picture")
x = L.Rescaling(1 / 127.5, offset=-1.0)(i)
x = L.Conv2D(6, 3, padding="same", name="first")(x)
x = L.ReLU(max_value=6)(L.BatchNormalization(scale=False)(x))
x = residual(residual(x, 6), 8, 2)
x = L.Dropout(0.3)(L.GlobalAveragePooling2D()(x))
save(keras.Model(i, L.Dense(5, activation="softmax", name="last")(x)), "resnet", ["keras", "h5"])

# One layer after another.
save(
    keras.Sequential([
        L.Input((13, 11, 2)),
        L.RandomFlip(),
        L.ZeroPadding2D(((1, 2), (0, 1))),
        L.Conv2D(4, (3, 2), 2, activation="elu", dilation_rate=1),
        L.ZeroPadding2D(1),
        L.MaxPooling2D(3, 2),
        L.Conv2D(6, 3, dilation_rate=2, padding="same", activation="silu", groups=2),
        L.AveragePooling2D(2, padding="same"),
        L.Flatten(),
        L.Dense(7, activation="relu"),
        L.Dense(3),
    ]),
    "sequence",
    ["keras", "h5"],
)

# MobileNet's layers.
i = L.Input((14, 14, 3))
x = L.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 0.6, 0.7])(i)
x = L.Conv2D(8, 3, 2, padding="same", activation="relu6")(x)
y = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
y = L.LeakyReLU(negative_slope=0.1)(L.BatchNormalization()(y))
y = L.Conv2D(8, 1, activation=keras.activations.hard_silu)(y)
x = L.Add()([x, y])
x = L.SeparableConv2D(10, 3, 2, padding="same", activation="tanh", depth_multiplier=2)(x)
x = L.PReLU(shared_axes=[1, 2])(x)
# Squeeze and excite.
s = L.GlobalAveragePooling2D(keepdims=True)(x)
s = L.Dense(10, activation="hard_sigmoid")(L.Dense(4, activation="gelu")(s))
x = L.Multiply()([x, s])
save(keras.Model(i, L.Dense(4)(L.GlobalMaxPooling2D()(x))), "mobile", ["keras", "h5"])

# Dense blocks, and two heads, one of them of a model within the model.
i = L.Input((12, 12, 3))
x = L.Conv2D(4, 3, padding="same")(i)
for _ in range(2):
    y = L.Conv2D(3, 3, padding="same", activation="softplus")(x)
    x = L.Concatenate()([x, y])
j = L.Input((12, 12, 10))
y = L.Conv2D(5, 3, 3)(j)
inner = keras.Model(j, L.GlobalAveragePooling2D()(L.ELU()(y)), name="inner")
head = keras.Sequential([L.Input((5,)), L.Dense(6, activation="relu"), L.Dense(2)], name="head")
a = head(inner(x))
b = L.Dense(1, activation="sigmoid")(L.GlobalAveragePooling2D()(L.Average()([x, x, x])))
save(keras.Model(i, [a, b]), "dense_heads", ["keras", "h5"])

# A sequence of samples.
i = L.Input((50, 4))
x = L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu")(i)
y = L.SeparableConv1D(6, 3, padding="same")(x)
x = L.MaxPooling1D(2)(L.Subtract()([x, y]))
x = L.AveragePooling1D(3, 2, padding="same")(L.ZeroPadding1D((1, 2))(x))
x = L.Cropping1D((1, 0))(x)
save(keras.Model(i, L.Dense(3)(L.GlobalAveragePooling1D()(x))), "samples", ["keras"], (1, 50, 4))

# Spoken words: features in a row, made a map; a layer that is used three times.
i = L.Input((20 * 10,))
x = L.Reshape((20, 10, 1))(i)
x = L.Conv2D(6, (5, 4), (2, 2), padding="same", activation="relu")(x)
shared = L.Conv2D(6, 3, padding="same", activation="relu")
for _ in range(3):
    x = L.Add()([x, shared(x)])
save(keras.Model(i, L.Dense(4)(L.Flatten()(x))), "words", ["keras"], (20, 10, 1))
