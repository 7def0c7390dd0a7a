#!/usr/bin/env python3
"""Trains the ResNet-20 that brooklet ships (He et al. 2015, section 4.2: option A, 16/32/64).

    train.py DATA OUT [--test FILE]

DATA is a folder with the five CIFAR-10 training files (data_batch_1.bin …), FILE a binary
file of test images. OUT receives checkpoint.pt after each epoch (a second call continues
from it), log.csv, and at the end resnet20.safetensors: float32, with PyTorch's names.

The recipe differs from the paper's (which takes 182 epochs) to fit into two hours on two processor
cores: bfloat16 products, Nesterov momentum, and two phases. The first, 50 epochs, is one cycle
of the learning rate; the log shows its progress for a moving average of the weights. The second,
24 epochs, continues at a constant rate and averages the weights at the end of each epoch
(Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization").
That average ships, with its batch norms measured again. No choice depends on the test images.

Needs torch, numpy and safetensors. It is for maintainers: brooklet itself does not use Python.
"""
import argparse, csv, pathlib, time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
BATCH, DECAY, MOMENTUM = 128, 5e-4, 0.9
CYCLE, PEAK, WARM_UP = 50, 0.4, 0.2  # epochs, learning rate, share of the epochs
EMA = 0.998  # an average over about 500 steps, 1.3 epochs
AVERAGED, RATE = 24, 0.05  # epochs, learning rate


class Block(nn.Module):
    """Two 3x3 convolutions under a shortcut; where the map shrinks, the shortcut takes
    every other pixel and adds zero channels on both sides (option A: no parameters)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.grow = stride, (outputs - inputs) // 2

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.grow:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.grow, self.grow))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[Block(16, 16, 1) for _ in range(3)])
        self.layer2 = nn.Sequential(Block(16, 32, 2), *[Block(32, 32, 1) for _ in range(2)])
        self.layer3 = nn.Sequential(Block(32, 64, 2), *[Block(64, 64, 1) for _ in range(2)])
        self.linear = nn.Linear(64, 10)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def read(paths):
    """Labels and normalized pixels [N, 3, 32, 32] of CIFAR-10 binary files."""
    raw = np.concatenate([np.fromfile(p, np.uint8).reshape(-1, 3073) for p in paths])
    x = torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32)).float() / 255
    x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    return torch.from_numpy(raw[:, 0].astype(np.int64)), x


def augment(x, padded):
    """Random crops of 32x32 from `padded` (four zero pixels on each side), half of them mirrored."""
    n = len(x)
    dy, dx = torch.randint(0, 9, (2, n)).tolist()
    out = torch.stack([padded[i, :, dy[k]:dy[k] + 32, dx[k]:dx[k] + 32] for k, i in enumerate(x)])
    flip = torch.rand(n) < 0.5
    out[flip] = out[flip].flip(3)
    return out.contiguous(memory_format=torch.channels_last)


def batches(n, padded):
    """The whole batches of an epoch: indices and augmented images."""
    for batch in torch.randperm(n)[:n // BATCH * BATCH].view(-1, BATCH):
        yield batch, augment(batch.tolist(), padded)


@torch.no_grad()
def blend(average, net, share):
    """Moves `average` towards `net`."""
    for a, b in zip(average.state_dict().values(), net.state_dict().values()):
        a.lerp_(b, share) if a.is_floating_point() else a.copy_(b)


@torch.no_grad()
def top1(net, labels, x):
    net.eval()
    hits = sum((net(x[i:i + 500]).argmax(1) == labels[i:i + 500]).sum().item() for i in range(0, len(x), 500))
    return 100 * hits / len(x)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("data", type=pathlib.Path)
    args.add_argument("out", type=pathlib.Path)
    args.add_argument("--test", type=pathlib.Path)
    args = args.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    labels, x = read(sorted(args.data.glob("data_batch_*.bin")))
    padded = F.pad(x, (4, 4, 4, 4))
    test = read([args.test]) if args.test else None

    torch.manual_seed(20)
    net = ResNet20().to(memory_format=torch.channels_last)
    average = ResNet20().to(memory_format=torch.channels_last)
    average.load_state_dict(net.state_dict())
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD([{"params": weights, "weight_decay": DECAY}, {"params": others}],
                                lr=PEAK, momentum=MOMENTUM, nesterov=True)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK, total_steps=CYCLE * steps, pct_start=WARM_UP, cycle_momentum=False)
    first = 0
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        first = state["epoch"]
        for part, name in ((net, "net"), (average, "average"), (optimizer, "optimizer"), (schedule, "schedule")):
            part.load_state_dict(state[name])
        torch.set_rng_state(state["rng"])

    with open(args.out / "log.csv", "a" if first else "w", newline="") as file:
        log = csv.writer(file, lineterminator="\n")
        if not first:
            log.writerow(["epoch", "seconds", "learning_rate", "train_loss", "train_top1", "average_test_top1"])
        for epoch in range(first, CYCLE + AVERAGED):
            cycle = epoch < CYCLE
            if not cycle:
                for group in optimizer.param_groups:
                    group["lr"] = RATE
            start, loss_sum, hits = time.time(), 0.0, 0
            net.train()
            for batch, images in batches(len(x), padded):
                with torch.autocast("cpu", torch.bfloat16):
                    logits = net(images)
                loss = F.cross_entropy(logits.float(), labels[batch])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                if cycle:
                    schedule.step()
                    blend(average, net, 1 - EMA)
                loss_sum += loss.item() * BATCH
                hits += (logits.argmax(1) == labels[batch]).sum().item()
            if not cycle:
                blend(average, net, 1 / (epoch - CYCLE + 1))
            if epoch + 1 == CYCLE + AVERAGED:
                torch.optim.swa_utils.update_bn((x for _, x in batches(len(x), padded)), average)
            tested = test and (cycle or epoch + 1 == CYCLE + AVERAGED)
            n = steps * BATCH
            row = [epoch + 1, round(time.time() - start), f"{optimizer.param_groups[0]['lr']:.5f}",
                   f"{loss_sum / n:.4f}", f"{100 * hits / n:.2f}", f"{top1(average, *test):.2f}" if tested else ""]
            log.writerow(row)
            file.flush()
            print(*row, flush=True)
            torch.save({"epoch": epoch + 1, "net": net.state_dict(), "average": average.state_dict(),
                        "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                        "rng": torch.get_rng_state()}, checkpoint)
    save_file({k: v.contiguous() for k, v in average.state_dict().items()
               if not k.endswith("num_batches_tracked")}, args.out / "resnet20.safetensors")


if __name__ == "__main__":
    main()
