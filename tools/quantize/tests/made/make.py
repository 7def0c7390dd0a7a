"""Makes the networks of this folder, and their outputs in ONNX Runtime and TensorFlow Lite.

For maintainers: pip install numpy onnx onnxruntime tensorflow-cpu; python make.py. Weights are drawn
by lot. Two images go in, whose values in the order channel, row, column are sines; what comes out is
in NAME.npz.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import glob
import numpy as np, onnx, onnxruntime, tensorflow as tf
from onnx import helper as H, numpy_helper as N, TensorProto as T

rng = np.random.default_rng(0)


class G:
    def __init__(s, shape, opset=17):
        s.n = []
        s.i = []
        s.shape = shape
        s.opset = opset
        s.k = 0

    def w(s, *sh, scale=None, arr=None):
        s.k += 1
        nm = f"w{s.k}"
        a = (
            arr
            if arr is not None
            else (
                rng.standard_normal(sh) * (scale or (1 / np.sqrt(max(1, np.prod(sh[1:])))))
            ).astype(np.float32)
        )
        s.i.append(N.from_array(np.asarray(a), nm))
        return nm

    def c(s, v, dt=np.float32):
        return s.w(arr=np.array(v, dtype=dt))

    def op(s, t, *ins, n=1, **a):
        s.k += 1
        o = [f"v{s.k}_{j}" for j in range(n)]
        s.n.append(H.make_node(t, list(ins), o, name=f"{t}_{s.k}", **a))
        return o[0] if n == 1 else o

    def conv(s, x, ci, co, k=3, p=None, g=1, st=1, **a):
        kk = [k, k] if isinstance(k, int) else list(k)
        p = [q // 2 for q in kk] * 2 if p is None else p
        return s.op(
            "Conv",
            x,
            s.w(co, ci // g, *kk, scale=1 / np.sqrt(ci // g * np.prod(kk))),
            s.w(co, scale=0.1),
            kernel_shape=kk,
            pads=p,
            group=g,
            strides=[st] * len(kk),
            **a,
        )

    def head(s, x, c, cl=5):
        x = s.op("GlobalAveragePool", x)
        x = s.op("Flatten", x)
        return s.op("Gemm", x, s.w(cl, c), s.w(cl), transB=1)

    def save(s, name, *outs):
        g = H.make_graph(
            s.n,
            name,
            [H.make_tensor_value_info("x", T.FLOAT, s.shape)],
            [H.make_tensor_value_info(o, T.FLOAT, None) for o in outs],
            s.i,
        )
        m = H.make_model(g, opset_imports=[H.make_opsetid("", s.opset)], ir_version=8)
        onnx.save(m, f"{name}.onnx")


# SE by linear layers, shape chain
g = G([1, 3, 16, 16])
x = g.op("Relu", g.conv("x", 3, 8))
y = g.conv(x, 8, 8)
p = g.op("GlobalAveragePool", y)
sh = g.op("Shape", y)
b = g.op("Gather", sh, g.c([0], np.int64))
c = g.op("Gather", sh, g.c([1], np.int64))
f = g.op("Reshape", p, g.op("Concat", b, c, axis=0))
f = g.op("Relu", g.op("Gemm", f, g.w(2, 8), g.w(2), transB=1))
f = g.op("Sigmoid", g.op("Gemm", f, g.w(8, 2), g.w(8), transB=1))
f = g.op("Reshape", f, g.op("Concat", b, c, g.c([1], np.int64), g.c([1], np.int64), axis=0))
e = g.op("Expand", f, sh)
g.save("se_linear", g.head(g.op("Relu", g.op("Add", g.op("Mul", y, e), x)), 8))
# highway
g = G([1, 3, 12, 12])
x = g.op("Relu", g.conv("x", 3, 8))
t = g.op("Sigmoid", g.conv(x, 8, 8))
h = g.op("Relu", g.conv(x, 8, 8))
y = g.op("Add", g.op("Mul", h, t), g.op("Mul", x, g.op("Sub", g.c(1.0), t)))
g.save("highway", g.head(y, 8))
# inception
g = G([1, 3, 17, 17])
x = g.op("Relu", g.conv("x", 3, 8))
a = g.conv(x, 8, 4, 1, p=[0] * 4)
b = g.conv(g.conv(x, 8, 4, (1, 7)), 4, 4, (7, 1))
c = g.conv(
    g.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1], count_include_pad=1),
    8,
    4,
    1,
    p=[0] * 4,
)
d = g.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
y = g.op("Concat", a, b, c, d, axis=1)
y = g.op("AveragePool", y, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
g.save("inception", g.head(g.op("Relu", g.conv(y, 20, 6)), 6))
# swish, elu, etc
g = G([1, 3, 12, 12])
x = g.conv("x", 3, 8)
x = g.op("Mul", x, g.op("Sigmoid", x))
x = g.op("Elu", g.conv(x, 8, 8))
x = g.op("Tanh", g.conv(x, 8, 8))
x = g.op("PRelu", g.conv(x, 8, 8), g.w(8, 1, 1))
x = g.op("Clip", g.conv(x, 8, 8), g.c(-1.0), g.c(1.0))
x = g.op("Softplus", x)
g.save("acts", g.head(x, 8))
# 1d tcn, NLC input, chomp
g = G([1, 50, 4])
x = g.op("Transpose", "x", perm=[0, 2, 1])


def c1(g, x, ci, co, k, p, d=1, st=1):
    return g.op(
        "Conv",
        x,
        g.w(co, ci, k),
        g.w(co, scale=0.1),
        kernel_shape=[k],
        pads=p,
        dilations=[d],
        strides=[st],
    )


x = g.op("Relu", c1(g, x, 4, 8, 3, [2, 2]))
y = c1(g, x, 8, 8, 3, [4, 4], d=2)
y = g.op("Slice", y, g.c([0], np.int64), g.c([-4], np.int64), g.c([2], np.int64))
y = g.op("Relu", g.op("Add", y, x))
y = g.op("MaxPool", y, kernel_shape=[2], strides=[2])
y = g.op("AveragePool", y, kernel_shape=[3], strides=[2], pads=[1, 1])
y = g.op("ReduceMean", y, axes=[2], keepdims=0)
g.save("tcn", g.op("Gemm", y, g.w(5, 8), g.w(5), transB=1))
# auto_pad, dilated, ceil
g = G([1, 3, 15, 15])
x = g.op("Conv", "x", g.w(8, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
x = g.op("Relu", x)
x = g.op("Conv", x, g.w(8, 8, 3, 3), dilations=[2, 2], pads=[2] * 4)
x = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
x = g.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER")
g.save("autopad", g.head(x, 8))
# pads
g = G([1, 3, 12, 12])
x = g.conv("x", 3, 8)
x = g.op("Pad", x, g.c([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
x = g.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2])
x = g.op("Pad", x, g.c([0, 0, 1, 2, 0, 0, 0, 1], np.int64), mode="edge")
x = g.conv(x, 8, 8, p=[0] * 4)
x = g.op("Pad", x, g.c([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
g.save("pads", g.head(x, 8))
# split/chunk, channel slice, crop
g = G([1, 3, 12, 12])
x = g.op("Relu", g.conv("x", 3, 8))
a, b = g.op("Split", x, n=2, axis=1)
a = g.conv(a, 4, 4)
y = g.op("Concat", a, b, axis=1)
z = g.op("Slice", y, g.c([1, 1], np.int64), g.c([7, -1], np.int64), g.c([1, 2], np.int64))
z = g.op("Gather", z, g.c([5, 4, 3, 2, 1, 0], np.int64), axis=1)
g.save("split", g.head(z, 6))
# features MLP
g = G([1, 20])
x = g.op("Relu", g.op("Gemm", "x", g.w(16, 20), g.w(16), transB=1))
y = g.op("Relu", g.op("MatMul", x, g.w(16, 16)))
y = g.op("Add", y, x)
y = g.op(
    "BatchNormalization",
    y,
    g.w(16),
    g.w(16),
    g.w(16),
    g.w(arr=np.abs(rng.standard_normal(16)).astype(np.float32) + 0.5),
)
g.save("mlp", g.op("Gemm", y, g.w(3, 16), g.w(3), transB=1))
# spatial attention mean
g = G([1, 3, 12, 12])
x = g.op("Relu", g.conv("x", 3, 8))
m = g.op("ReduceMean", x, axes=[1], keepdims=1)
t = g.op("Sigmoid", g.conv(m, 1, 1, 7))
g.save("spatial", g.head(g.op("Mul", x, t), 8))
# layerscale, x+x, Sub maps, neg
g = G([1, 3, 12, 12])
x = g.op("Relu", g.conv("x", 3, 8))
y = g.op("Mul", g.conv(x, 8, 8), g.w(8, 1, 1))
x = g.op("Sub", g.op("Add", x, x), y)
x = g.op("Neg", x)
x = g.op("Div", x, g.c(3.0))
g.save("scale", g.head(x, 8))
# shape with start/end (opset 17), view flatten
g = G([1, 3, 8, 8])
x = g.op("Relu", g.conv("x", 3, 4))
s = g.op("Shape", x, start=0, end=1)
x = g.op("Reshape", x, g.op("Concat", s, g.c([-1], np.int64), axis=0))
g.save("shape", g.op("Gemm", x, g.w(5, 256), g.w(5), transB=1))
# linear over pixels
g = G([1, 6, 30])
x = g.op("Transpose", g.op("Relu", c1(g, "x", 6, 8, 3, [1, 1])), perm=[0, 2, 1])
x = g.op("Add", g.op("MatMul", x, g.w(8, 10)), g.w(10))
x = g.op("ReduceMean", g.op("Relu", x), axes=[1], keepdims=0)
g.save("pixlin", g.op("MatMul", x, g.w(10, 4)))
# mid outputs, softmax, depth multiplier
g = G([1, 3, 12, 12])
x = g.op("Relu", g.conv("x", 3, 6))
x = g.op("Relu", g.conv(x, 6, 12, g=6))
m = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
h = g.head(m, 12)
g.save("mid", g.op("Softmax", h, axis=1), m)
# tf-like NHWC with normalization first
g = G([1, 16, 16, 3])
x = g.op("Sub", "x", g.w(3))
x = g.op("Div", x, g.c([2.0, 3.0, 4.0]))
x = g.op("Transpose", x, perm=[0, 3, 1, 2])
x = g.op("Relu", g.conv(x, 3, 8))
x = g.op("Transpose", x, perm=[0, 2, 3, 1])
x = g.op("Add", x, g.w(8))
x = g.op("ReduceMean", x, axes=[1, 2], keepdims=0)
g.save("nhwcnorm", g.op("MatMul", x, g.w(8, 4)))
from tensorflow import keras as K

L = K.layers
tf.random.set_seed(0)


def bn(x):
    return L.BatchNormalization(
        beta_initializer="random_normal",
        gamma_initializer=K.initializers.RandomUniform(0.5, 1.5),
        moving_mean_initializer="random_normal",
    )(x)


def save(name, x, y):
    m = K.Model(x, y)
    c = tf.lite.TFLiteConverter.from_keras_model(m)
    open(f"keras_{name}.tflite", "wb").write(c.convert())


I = K.Input
# mobilenet v2 block
x = i = I((16, 16, 3))
x = L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
x = L.ReLU(6.0)(bn(x))
y = L.Conv2D(24, 1, use_bias=False)(x)
y = L.ReLU(6.0)(bn(y))
y = L.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
y = L.ReLU(6.0)(bn(y))
y = bn(L.Conv2D(8, 1, use_bias=False)(y))
x = L.Add()([x, y])
y = L.ZeroPadding2D(((0, 1), (0, 1)))(x)
y = L.DepthwiseConv2D(3, strides=2, padding="valid")(y)
save("mbv2", i, L.Dense(5, activation="softmax")(L.GlobalAveragePooling2D()(y)))
# SE with reshape, hard swish
x = i = I((16, 16, 3))
x = L.Conv2D(8, 3, padding="same")(x)
x = L.Activation("hard_swish" if hasattr(K.activations, "hard_swish") else K.activations.hard_silu)(
    x
)
s = L.GlobalAveragePooling2D()(x)
s = L.Reshape((1, 1, 8))(s)
s = L.Conv2D(2, 1, activation="relu")(s)
s = L.Conv2D(8, 1, activation="hard_sigmoid")(s)
x = L.Multiply()([x, s])
save("se", i, L.Dense(5)(L.GlobalAveragePooling2D()(x)))
x = i = I((16, 16, 3))
x = L.Conv2D(8, 3, padding="same", activation="swish")(x)
s = L.GlobalAveragePooling2D()(x)
s = L.Dense(2, activation="relu")(s)
s = L.Dense(8, activation="sigmoid")(s)
s = L.Reshape((1, 1, 8))(s)
x = L.Multiply()([x, s])
save("se_dense", i, L.Dense(5)(L.GlobalAveragePooling2D()(x)))
# densenet
x = i = I((16, 16, 3))
x = L.Conv2D(8, 3, padding="same")(x)
for _ in range(3):
    y = L.Conv2D(4, 3, padding="same")(L.ReLU()(bn(x)))
    x = L.Concatenate()([x, y])
x = L.Conv2D(8, 1)(L.ReLU()(bn(x)))
x = L.AveragePooling2D(2)(x)
save("dense", i, L.Dense(5)(L.GlobalAveragePooling2D()(x)))
# prelu, leaky, elu, tanh
x = i = I((16, 16, 3))
x = L.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal")(
    L.Conv2D(8, 3, padding="same")(x)
)
x = L.LeakyReLU(negative_slope=0.1)(L.Conv2D(8, 3, dilation_rate=2, padding="same")(x))
x = L.ELU()(L.Conv2D(8, 3)(x))
x = L.Activation("tanh")(L.Conv2D(8, 3)(x))
x = L.Activation("sigmoid")(L.Conv2D(8, 3)(x))
save("acts", i, L.Dense(5)(L.GlobalMaxPooling2D()(x)))
# pools
x = i = I((15, 15, 3))
x = L.Conv2D(8, 3, padding="same")(x)
x = L.AveragePooling2D(3, strides=2, padding="same")(x)
x = L.MaxPooling2D(3, strides=1, padding="same")(x)
x = L.Add()([x, L.Conv2D(8, 3, padding="same")(x), L.Conv2D(8, 1)(x)])
a = L.GlobalAveragePooling2D()(x)
b = L.GlobalMaxPooling2D()(x)
save("pools", i, L.Dense(5)(L.Concatenate()([a, b])))
# 1d
x = i = I((64, 6))
x = L.Conv1D(8, 5, padding="same", activation="relu")(x)
y = L.Conv1D(8, 3, padding="same", dilation_rate=2)(x)
x = L.ReLU()(L.Add()([x, y]))
x = L.MaxPooling1D(2)(x)
x = L.Conv1D(8, 3, padding="causal")(x)
x = L.SeparableConv1D(8, 3)(x)
save("c1d", i, L.Dense(5)(L.GlobalAveragePooling1D()(x)))
# subtract/highway/gate, minimum, two heads, normalization layer
x = i = I((16, 16, 3))
x = L.Rescaling(1 / 127.5, -1)(x)
x = L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(x)
x = L.Conv2D(8, 3, activation="relu")(x)
t = L.Conv2D(8, 3, padding="same", activation="sigmoid")(x)
h = L.Conv2D(8, 3, padding="same", activation="relu")(x)
x = L.Add()([L.Multiply()([t, h]), L.Multiply()([1 - t, x])])
f = L.Flatten()(L.AveragePooling2D(7)(x))
save("gate", i, [L.Dense(5, activation="softmax")(f), L.Dense(1, activation="sigmoid")(f)])
# grouped conv
x = i = I((16, 16, 4))
x = L.Conv2D(8, 3, groups=2, padding="same", activation="relu")(x)
save("group", i, L.Dense(5)(L.GlobalAveragePooling2D()(x)))
x = i = I((16, 16, 3))
x = L.Conv2D(8, 3, padding="same")(x)
x = L.UnitNormalization()(L.Dense(6)(L.GlobalAveragePooling2D()(x)))
save("l2", i, x)


def image(number, shape):
    channels_last = len(shape) > 3 and shape[3] <= 4 or shape[1:] == [50, 4]
    if len(shape) == 2:
        height, width, channels = 1, 1, shape[1]
    elif len(shape) == 3:
        height, (width, channels) = 1, shape[1:] if channels_last else shape[:0:-1]
    else:
        height, width, channels = shape[1:] if channels_last else (shape[2], shape[3], shape[1])
    index = np.arange(channels * height * width) + number * channels * height * width
    values = np.sin(index.astype(np.float32) * np.float32(0.37)).astype(np.float32)
    values = values.reshape(channels, height, width)
    return (values.transpose(1, 2, 0) if channels_last else values).reshape(shape)


def write(name, answers):
    # Other scripts write these.
    if name.startswith("maps_"):
        return
    outputs = [np.concatenate([a.reshape(1, -1) for a in output]) for output in zip(*answers)]
    np.savez(name, **{f"y{index}": output for index, output in enumerate(outputs)})


for file in sorted(glob.glob("*.onnx")):
    session = onnxruntime.InferenceSession(file)
    given = session.get_inputs()[0]
    answers = [session.run(None, {given.name: image(n, given.shape)}) for n in range(2)]
    # Maps in the order of rows, columns and channels.
    maps = [[y.transpose(0, 2, 3, 1) if y.ndim == 4 else y for y in outputs] for outputs in answers]
    write(file[:-5], maps)
for file in sorted(glob.glob("*.tflite")):
    interpreter = tf.lite.Interpreter(file)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()
    answers = []
    for number in range(2):
        shape = list(given["shape"])
        values = image(number, [shape[0], shape[2], shape[1]] if len(shape) == 3 else shape)
        values = (
            values.reshape(1, shape[2], shape[1]).transpose(0, 2, 1) if len(shape) == 3 else values
        )
        interpreter.set_tensor(given["index"], np.ascontiguousarray(values))
        interpreter.invoke()
        answers.append([interpreter.get_tensor(output["index"]) for output in made])
    write(file[:-7], answers)
