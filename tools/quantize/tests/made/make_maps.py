"""Makes networks of this folder that end in maps, as PyTorch's exporters write them, and their
outputs in PyTorch, in the order of rows, columns and channels.

For maintainers: pip install numpy torch onnx onnxscript; PYTHONPATH=.. python make_maps.py. Weights
are drawn by lot. The images are those of make.py.
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from networks import Net

torch.manual_seed(0)


def save(name, forward, *layers, opset=18, dynamo=False, shape=(3, 24, 32), channels_last=False):
    net = Net(forward, *layers).eval()
    values = np.sin(np.arange(2 * int(np.prod(shape)), dtype=np.float32) * np.float32(0.37))
    x = torch.from_numpy(values.reshape(2, *shape))
    with torch.no_grad():
        y = net(x)
    y = y if isinstance(y, tuple) else (y,)

    def ordered(y):
        order = {5: (0, 3, 4, 1, 2), 4: (0, 2, 3, 1), 3: (0, 2, 1)}.get(y.ndim)
        y = y if channels_last or order is None else y.permute(order)
        return y.reshape(2, -1).float().numpy()

    np.savez_compressed(f"{name}.npz", **{f"y{n}": ordered(y) for n, y in enumerate(y)})
    options = {"dynamo": True, "external_data": False} if dynamo else {"dynamo": False}
    torch.onnx.export(net, (x[:1],), f"{name}.onnx", opset_version=opset, verbose=False, **options)


def inverted(inputs, outputs, stride):
    """MobileNetV2's block."""
    inner = 3 * inputs
    return nn.Sequential(
        nn.Conv2d(inputs, inner, 1), nn.BatchNorm2d(inner), nn.ReLU6(),
        nn.Conv2d(inner, inner, 3, stride, 1, groups=inner), nn.BatchNorm2d(inner), nn.ReLU6(),
        nn.Conv2d(inner, outputs, 1), nn.BatchNorm2d(outputs),
    )


def body():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU6(), inverted(4, 6, 2), inverted(6, 8, 2))


def fomo(x, body, same, one, two):
    """Object detection by a class for each cell: 3×4 cells of 8×8 pixels."""
    x = body(x)
    return F.softmax(two(F.relu(one(x + same(x)))), 1)


save("maps_fomo", fomo, body(), inverted(8, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 3, 1))
# The softmax of older opsets is over the last dimensions.
save("maps_old", fomo, body(), inverted(8, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 3, 1), opset=12)
save(
    "maps_cells",
    lambda x, body, two: F.softmax(two(body(x)).permute(0, 2, 3, 1).flatten(1, 2), -1),
    body(),
    nn.Conv2d(8, 3, 1),
    channels_last=True,
)
save(
    "maps_flat",
    lambda x, body, two: F.log_softmax(two(body(x)).flatten(2), 1),
    body(),
    nn.Conv2d(8, 4, 1),
    dynamo=True,
)
# Heatmaps of keypoints, and their offsets.
save(
    "maps_heat",
    lambda x, body, heat, offsets: (torch.sigmoid(heat(x := body(x))), offsets(x)),
    body(),
    nn.Conv2d(8, 1, 1),
    nn.Conv2d(8, 4, 3, padding=1),
)
save(
    "maps_best",
    lambda x, one, two: two(F.relu(one(x))).argmax(1),
    nn.Conv2d(3, 8, 4, 4),
    nn.Conv2d(8, 5, 2, 2, bias=False),
    channels_last=True,
)
# Anchors, which divide the channels.
save(
    "maps_anchors",
    lambda x, body, two: two(body(x)).reshape(-1, 2, 5, 3, 4),
    body(),
    nn.Conv2d(8, 10, 1),
)
