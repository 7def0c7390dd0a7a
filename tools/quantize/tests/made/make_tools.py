"""Makes the networks of this folder that tools rewrite: with operators that ONNX Runtime's optimizer
fuses, with float16 weights and nodes out of order, and without the exporter's optimizations.

For maintainers: pip install numpy torch onnx onnxscript onnxruntime; python make_tools.py.
"""

import os

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnxruntime.transformers.float16 import convert_float_to_float16

torch.manual_seed(1)


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.linear = nn.Linear(4, 3)
        for layer in (self.one, self.two, self.linear):
            # Numbers that float16 can hold.
            layer.weight.data = (layer.weight.data * 64).round() / 64
            layer.bias.data = (layer.bias.data * 64).round() / 64

    def forward(self, x):
        x = F.leaky_relu(self.one(x), 0.25)
        x = F.hardtanh(self.two(self.function(x) + x))
        return self.linear(x.mean((2, 3)))


x = np.sin(np.arange(2 * 3 * 8 * 8, dtype=np.float32) * np.float32(0.37)).reshape(2, 3, 8, 8)


def network(function, name):
    """A network, with its outputs in PyTorch as those of the network with this name."""
    net = Net(function).eval()
    with torch.no_grad():
        np.savez_compressed(f"{name}.npz", y0=net(torch.from_numpy(x)).numpy())
    return net


def export(net, name, **options):
    first = torch.from_numpy(x[:1])
    torch.onnx.export(net, (first,), f"{name}.onnx", verbose=False, **options)


export(network(F.gelu, "tool_unoptimized"), "tool_unoptimized", opset_version=18, dynamo=True,
       optimize=False, external_data=False)

export(network(F.relu, "tool_halves"), "plain", opset_version=17, dynamo=False)
onnx.save(convert_float_to_float16(onnx.load("plain.onnx"), keep_io_types=True), "tool_halves.onnx")

export(network(F.gelu, "tool_fused"), "plain", opset_version=17, dynamo=False)
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
options.optimized_model_filepath = "tool_fused.onnx"
onnxruntime.InferenceSession("plain.onnx", options, providers=["CPUExecutionProvider"])
os.remove("plain.onnx")
