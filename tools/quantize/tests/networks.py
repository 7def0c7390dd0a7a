"""What the scripts that make networks with PyTorch share."""

import torch.nn as nn


class Net(nn.Module):
    """Layers, and a function that calls them."""

    def __init__(self, forward, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = forward

    def forward(self, x):
        return self.function(x, *self.layers)
