"""Makes small networks that ONNX Runtime quantizes, and its answers.

For maintainers: pip install numpy torch onnx onnxscript onnxruntime;
PYTHONPATH=.. python make_onnx.py. Weights are drawn by lot. The images are sines; NAME.npz has the
answers, one row for each image.
"""

import os
import tempfile

import numpy as np
import onnxruntime
import torch
import torch.nn as nn
import torch.nn.functional as F
from networks import Net
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

torch.manual_seed(0)
COUNT = 4


def images(shape, phase=0.37):
    size = COUNT * int(np.prod(shape))
    return np.sin(np.arange(size, dtype=np.float32) * np.float32(phase)).reshape(COUNT, *shape)


class Reader(CalibrationDataReader):
    def __init__(self, shape):
        data = np.concatenate([images(shape), 1.3 * images(shape, 0.91)])
        self.rows = iter([{"x": row[None]} for row in data])

    def get_next(self):
        return next(self.rows, None)


def save(name, shape, forward, *layers, form=QuantFormat.QDQ, kind=QuantType.QInt8):
    net = Net(forward, *layers).eval()
    x = torch.from_numpy(images(shape))
    with tempfile.TemporaryDirectory() as folder:
        plain, ready = os.path.join(folder, "plain.onnx"), os.path.join(folder, "ready.onnx")
        names = {"input_names": ["x"], "opset_version": 17, "dynamo": False}
        torch.onnx.export(net, (x[:1],), plain, **names)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        options = {"per_channel": True, "activation_type": kind, "weight_type": QuantType.QInt8}
        quantize_static(ready, f"{name}.onnx", Reader(shape), quant_format=form, **options)
    session = onnxruntime.InferenceSession(f"{name}.onnx", providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"x": image[None]})[0] for image in images(shape)]
    # Maps in the order of rows, columns and channels.
    rows = [row.transpose(0, 2, 3, 1) if row.ndim == 4 else row for row in rows]
    np.savez_compressed(f"{name}.npz", reals=np.array([row.reshape(-1) for row in rows]))


def scaled(x, a, b):
    """The image is normalized in float; attention along the channels (ECA)."""
    mean = torch.tensor([0.1, -0.2, 0.3]).reshape(1, 3, 1, 1)
    x = F.relu(a((x - mean) / torch.tensor([0.5, 0.6, 0.7]).reshape(1, 3, 1, 1)))
    gates = b(x.mean((2, 3)).unsqueeze(1)).squeeze(1)
    return (x * torch.sigmoid(gates)[:, :, None, None]).mean((2, 3))


def halved(x, a, b, c):
    """A shortcut of every second pixel, to which channels of zeros are joined."""
    x = F.relu(a(x))
    half = x[:, :, ::2, ::2]
    return c(F.relu(b(x) + torch.cat([half, half * 0], 1)).mean((2, 3)))


def flat(x, a, b):
    """A linear layer over 20 columns."""
    return b(F.relu(a(x)).flatten(1))


conv = nn.Conv2d
save("scaled", (3, 8, 9), scaled, conv(3, 6, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1, bias=False))
layers = [conv(3, 6, 3, padding=1), conv(6, 12, 3, 2, 1), nn.Linear(12, 5)]
save("halved", (3, 8, 8), halved, *layers)
save("halved_operators", (3, 8, 8), halved, *layers, form=QuantFormat.QOperator)
layers = [nn.Conv1d(3, 4, 3, padding=1), nn.Linear(80, 5)]
save("columns", (3, 20), flat, *layers, kind=QuantType.QUInt8)


def dilated(x, a, b, c):
    """Kernels with gaps, over more than 16 columns, and a softmax that a layer reads."""
    x = F.relu(a(F.pad(x[:, [1, 0]], (18, 0))))
    x = F.relu(b(x))[:, :, :-2]
    return torch.softmax(c(x.mean(2)), 1) @ torch.arange(4.0).unsqueeze(1)


layers = [nn.Conv1d(2, 4, 3, dilation=9), nn.Conv1d(4, 6, 3, padding=10, dilation=10), nn.Linear(6, 4)]
save("dilated", (2, 47), dilated, *layers)


def gates(x, a, b, c):
    """A gate for each pixel from a mean and a maximum of channels, and one for each row."""
    x = F.relu(a(x))
    x = x * torch.sigmoid(b(torch.cat([x.mean(1, keepdim=True), x[:, :1]], 1)))
    x = x * torch.sigmoid(c(x.mean(3, keepdim=True)))
    return x.mean((2, 3))


save("gates", (2, 19, 8), gates, conv(2, 4, 3, padding=1), conv(2, 1, 3, padding=1), conv(4, 4, 1))


def cells(x, a, b, c):
    """A class for each cell."""
    return F.softmax(c(F.relu(b(F.relu(a(x))))), 1)


layers = [conv(3, 6, 3, 2, 1), conv(6, 8, 3, 2, 1), conv(8, 3, 1)]
save("map", (3, 12, 16), cells, *layers)
save("map_operators", (3, 12, 16), cells, *layers, form=QuantFormat.QOperator)
