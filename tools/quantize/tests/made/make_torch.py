"""Makes the networks of this folder that PyTorch's exporters write, and their outputs in PyTorch.

For maintainers: pip install numpy torch onnx onnxscript; PYTHONPATH=.. python make_torch.py.
Weights are drawn by lot. The images are those of make.py.
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from networks import Net

torch.manual_seed(0)


def save(name, shape, forward, *layers, dynamo=False):
    """The exporter's file of a network, and its outputs for two images of sines."""
    net = Net(forward, *layers).eval()
    count = 2 * int(np.prod(shape))
    values = np.sin(np.arange(count, dtype=np.float32) * np.float32(0.37))
    x = torch.from_numpy(values.reshape(2, *shape))
    with torch.no_grad():
        y = net(x)
    y = y if isinstance(y, tuple) else (y,)
    arrays = {f"y{n}": y.reshape(2, -1).float().numpy() for n, y in enumerate(y)}
    np.savez_compressed(f"{name}.npz", **arrays)
    options = {"dynamo": True, "external_data": False} if dynamo else {"dynamo": False}
    torch.onnx.export(net, (x[:1],), f"{name}.onnx", opset_version=18, verbose=False, **options)


def mean(x):
    return x.mean((2, 3))


# Features that become an image of one channel.
save(
    "torch_features",
    (19, 6),
    lambda x, conv, linear: linear(mean(F.relu(conv(x.unsqueeze(1))))),
    nn.Conv2d(1, 4, (4, 3), 2, 1),
    nn.Linear(4, 3),
)
save(
    "torch_signal",
    (48,),
    lambda x, conv, linear: linear(F.relu(conv(x.unsqueeze(1)))[:, :, -1]),
    nn.Conv1d(1, 4, 5, padding=2),
    nn.Linear(4, 3),
)


def parts(x, one, two, linear):
    """Every second pixel, from the first and from the second; blocks of pixels; a crop."""
    corners = [x[..., a::2, b::2] for b in (0, 1) for a in (0, 1)]
    y = F.relu(one(torch.cat(corners, 1)))
    y = F.relu(two(F.pixel_unshuffle(y, 2)))[:, :, 1:, :-1]
    return F.softmax(linear(mean(y)), 1)[:, 1]


save("torch_parts", (3, 16, 16), parts, nn.Conv2d(12, 4, 1), nn.Conv2d(16, 4, 3, padding=1),
     nn.Linear(4, 2))

# The exporter writes a list of channels as a GatherND, and a softplus as a choice.
save(
    "torch_channels",
    (3, 8, 8),
    lambda x, conv, linear: linear(mean(F.softplus(conv(x[:, [2, 1, 0]])))).view(-1, 3, 2),
    nn.Conv2d(3, 4, 3),
    nn.Linear(4, 6),
    dynamo=True,
)


def broadcast(x, conv, context, gate, linear):
    x = F.relu(conv(x))
    x = x + context(F.adaptive_avg_pool2d(x, 1))
    x = x * torch.sigmoid(gate(x.mean(3, keepdim=True)))
    x = x - x.mean(1, keepdim=True)
    scores = linear(mean(x))
    return F.softmax(scores, 1), scores.argmax(1)


save("torch_broadcast", (3, 10, 8), broadcast, nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1),
     nn.Conv2d(4, 4, 1), nn.Linear(4, 5))


def functions(x, conv, linear):
    x = torch.log1p(torch.exp(conv(x))) + torch.abs(x)
    x = x.clamp(min=1e-6).pow(2.5)
    return torch.exp(linear(mean(x).pow(1 / 2.5))), torch.sqrt(mean(x))


save("torch_functions", (3, 8, 8), functions, nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2))


def long(x, first, second, third, fourth, linear):
    """Kernels that are longer than those of layers, with and without gaps and padding."""
    x = F.relu(first(x))
    x = F.relu(second(x)) + F.relu(third(x))
    x = F.avg_pool1d(F.relu(fourth(F.pad(x, (32, 0)))), 2)
    return linear(x.flatten(1))


save("torch_long", (2, 72), long, nn.Conv1d(2, 4, 31, padding=15), nn.Conv1d(4, 4, 39, padding=19),
     nn.Conv1d(4, 4, 25, padding=12, groups=4), nn.Conv1d(4, 4, 3, dilation=16),
     nn.Linear(4 * 36, 3))

save("torch_apart", (2, 20, 20), lambda x, one, two, linear: linear(mean(two(F.relu(one(x))))),
     nn.Conv2d(2, 2, 3, padding=8, dilation=8, groups=2), nn.Conv2d(2, 3, (3, 17)),
     nn.Linear(3, 2))

# A signal that is written upright, with kernels of several rows.
save(
    "torch_upright",
    (3, 40),
    lambda x, one, two, linear: linear(mean(F.relu(two(F.max_pool2d(F.relu(one(x.unsqueeze(-1))),
                                                                  (2, 1)))))),
    nn.Conv2d(3, 4, (5, 1), padding=(2, 0)),
    nn.Conv2d(4, 4, (3, 1), stride=(2, 1), padding=(2, 0), dilation=(2, 1)),
    nn.Linear(4, 3),
)


class Standardized(nn.Conv2d):
    """A convolution whose weights are standardized, by a batch norm, as in timm's networks without norms."""

    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, self.gain, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, padding=1)


def standardized(inputs, outputs):
    conv = Standardized(inputs, outputs, 3)
    conv.gain = nn.Parameter(torch.rand(outputs) + 0.5)
    return conv


save("torch_standardized", (2, 6, 6), lambda x, conv, linear: linear(mean(F.relu(conv(x)))),
     standardized(2, 4), nn.Linear(4, 2))

torch.manual_seed(1)


def branches(x, one, two, squeeze, excite, grouped, inner, outer, linear):
    """Branches that a softmax weighs: selective kernels, and split attention."""
    maps = torch.stack([F.relu(one(x)), F.relu(two(x))], 1)
    gates = excite(F.relu(squeeze(maps.sum(1).mean((2, 3), keepdim=True))))
    x = (maps * torch.softmax(gates.reshape(-1, 2, 4, 1, 1), 1)).sum(1)
    maps = F.relu(grouped(x)).reshape(-1, 2, 3, *x.shape[2:])
    gates = outer(F.relu(inner(maps.sum(1).mean((2, 3), keepdim=True))))
    gates = torch.softmax(gates.view(-1, 1, 2, 3).transpose(1, 2), 1).reshape(-1, 6)
    x = (maps * gates.view(-1, 6, 1, 1).view(-1, 2, 3, 1, 1)).sum(1)
    return linear(mean(x)).view(-1, 2, 2)


save("torch_branches", (2, 7, 9), branches, nn.Conv2d(2, 4, 3, padding=1),
     nn.Conv2d(2, 4, 3, padding=2, dilation=2), nn.Conv2d(4, 3, 1), nn.Conv2d(3, 8, 1),
     nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1),
     nn.Linear(3, 4))


def divided(x, one, two, linear):
    """Quotients of maps: softsign, a gate below, and SimAM's energy."""
    x = F.softsign(one(x))
    x = x / (torch.sigmoid(two(x)) + 0.5)
    squares = (x - x.mean((2, 3), keepdim=True)).pow(2)
    energy = squares / (4 * (squares.sum((2, 3), keepdim=True) / 71 + 1e-4)) + 0.5
    return linear(mean(x * torch.sigmoid(energy)))


save("torch_divided", (2, 8, 9), divided, nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1),
     nn.Linear(4, 3))


torch.manual_seed(2)


def repeated(x, one, two, linear):
    """A mean of 20 rows that is added to each, and maxima of pairs of channels."""
    x = F.relu(one(x))
    x = x + F.relu(two(x.mean(2, keepdim=True)))
    return linear(mean(x.view(-1, 3, 2, 20, 9).max(2)[0]))


save("torch_repeated", (2, 20, 9), repeated, nn.Conv2d(2, 6, 3, padding=1),
     nn.Conv2d(6, 6, (1, 3), padding=(0, 1)), nn.Linear(3, 2))

# Features that are an image, given as a vector.
save("torch_vector", (40,), lambda x, conv, linear: linear(mean(F.relu(conv(x.view(-1, 1, 5, 8))))),
     nn.Conv2d(1, 4, 3), nn.Linear(4, 3))
