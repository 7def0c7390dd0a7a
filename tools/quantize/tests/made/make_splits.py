"""Makes the TFLite networks of this folder that split maps or mirror them, and their outputs.

For maintainers: pip install numpy tensorflow-cpu keras; python make_splits.py. Weights are drawn by
lot. The images are those of make.py; the outputs are those of TensorFlow Lite.
"""

# It keeps TensorFlow quiet, so it comes first.
import keras_files
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(5)


def constant(*shape):
    return tf.constant(rng.normal(0, 0.4, shape).astype(np.float32))


def conv(x, filters, size=3, padding="SAME"):
    x = tf.nn.conv2d(x, constant(size, size, x.shape[-1], filters), 1, padding)
    return tf.nn.bias_add(x, constant(filters))


def save(name, network):
    """The converter's file, and the outputs."""
    spec = tf.TensorSpec((1, 12, 12, 3), tf.float32)
    function = tf.function(network).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    with open(f"{name}.tflite", "wb") as out:
        out.write(converter.convert())
    reader = tf.lite.Interpreter(f"{name}.tflite")
    reader.allocate_tensors()
    print(name, sorted({operator["op_name"] for operator in reader._get_ops_details()}))
    rows = []
    for image in keras_files.image(12, 12, 3):
        reader.set_tensor(reader.get_input_details()[0]["index"], image[None])
        reader.invoke()
        at = reader.get_output_details()[0]["index"]
        rows.append(reader.get_tensor(at).astype(np.float32).ravel())
    np.savez_compressed(f"{name}.npz", y0=np.array(rows))


def scores(x):
    return tf.linalg.matmul(tf.reduce_mean(x, (1, 2)), constant(x.shape[-1], 4))


def halves(x):
    """Channels in halves, as in ShuffleNet, and rows in thirds."""
    x = tf.nn.relu(conv(x, 8))
    a, b = tf.split(x, 2, -1)
    x = tf.concat((a, tf.nn.relu(conv(b, 4))), -1)
    upper, middle, lower = tf.split(x, 3, 1)
    return scores(conv(upper + lower, 4) * tf.sigmoid(conv(middle, 4)))


def parts(x):
    """Parts of different sizes, as in Res2Net, one of which is what is left."""
    x = tf.nn.relu(conv(x, 9))
    a, b, c = tf.split(x, (2, 3, 4), -1)
    b = tf.nn.relu(conv(b, 3))
    c = tf.nn.relu(conv(tf.concat((b, c), -1), 4))
    return scores(tf.concat((a, b, c), -1))


def mirrored(x):
    """Borders of both modes, and a negative."""
    x = conv(tf.pad(x, ((0, 0), (2, 1), (1, 2), (0, 0)), "REFLECT"), 6, padding="VALID")
    x = tf.nn.relu(x) - tf.nn.relu(conv(-x, 6))
    x = conv(tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC"), 4, padding="VALID")
    return scores(x)


save("split_halves", halves)
save("split_parts", parts)
save("split_mirrored", mirrored)
