"""Makes the Keras networks of this folder whose layers are operators, in what Keras 2 and Keras 3 write,
and what they compute.

For maintainers: pip install numpy tensorflow-cpu keras tf_keras; python make_keras_operators.py.
Weights are drawn by lot, those of batch norms as well. The images are those of make.py.
"""

from functools import partial

# It keeps TensorFlow quiet, so it comes first.
import keras_files
import keras
import numpy as np
import tf_keras

rng = np.random.default_rng(1)

save = partial(keras_files.save, rng)


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
