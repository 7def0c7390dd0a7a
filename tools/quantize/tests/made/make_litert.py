"""Makes the networks of this folder that LiteRT's converter for PyTorch writes, with channels before
rows and columns, and their outputs in PyTorch.

For maintainers: pip install numpy torch litert-torch; PYTHONPATH=.. python make_litert.py. Weights are
drawn by lot. The images are those of make.py.
"""

import litert_torch
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from networks import Net

torch.manual_seed(0)


def norm(norm):
    """A batch norm that changes its input."""
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return norm


def save(name, shape, forward, *layers):
    net = Net(forward, *layers).eval()
    values = np.sin(np.arange(2 * int(np.prod(shape)), dtype=np.float32) * np.float32(0.37))
    x = torch.from_numpy(values.reshape(2, *shape))
    with torch.no_grad():
        y = net(x)
    np.savez_compressed(f"{name}.npz", y0=y.reshape(2, -1).numpy())
    litert_torch.convert(net, (x[:1],)).export(f"{name}.tflite")


def signal(x, one, first, two, second, three, linear):
    """A signal, with batch norms that are not folded, a shortcut, and a linear layer of all positions."""
    x = F.relu(first(one(x)))
    x = F.max_pool1d(F.relu(x + second(two(x))), 3)
    return linear(torch.sigmoid(three(x)).flatten(1))


save("litert_signal", (3, 22), signal, nn.Conv1d(3, 4, 5, padding=2), norm(nn.BatchNorm1d(4)),
     nn.Conv1d(4, 4, 3, padding=1), norm(nn.BatchNorm1d(4)), nn.Conv1d(4, 3, 1), nn.Linear(21, 4))


def normalized(x, conv, linear):
    """An image that is normalized, and flattened with its channels first."""
    x = (x - torch.tensor([0.1, -0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.6, 0.7])[:, None, None]
    return linear(F.relu(conv(x)).flatten(1))


save("litert_image", (3, 6, 7), normalized, nn.Conv2d(3, 4, 3), nn.Linear(80, 3))
