"""Every optimizer's update as its paper or torch's documentation writes it, in float64, without torch.optim."""

import math

import torch

LR, DECAY = 0.03, 0.1


def sgd(weight, gradients, momentum=0.9, nesterov=False):
    v = None
    for gradient in gradients:
        g = gradient + DECAY * weight
        v = g if v is None else momentum * v + g
        weight = weight - LR * (g + momentum * v if nesterov else v)
    return weight


def adam(weight, gradients, b1=0.9, b2=0.999, eps=1e-8, decoupled=False, lr=LR):
    m = v = torch.zeros_like(weight)
    for t, gradient in enumerate(gradients, start=1):
        g = gradient if decoupled else gradient + DECAY * weight
        weight = weight - lr * DECAY * weight if decoupled else weight
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        weight = weight - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps)
    return weight


def rmsprop(weight, gradients, smoothing=0.99, eps=1e-8, momentum=0.0, centered=False):
    square = mean = update = torch.zeros_like(weight)
    for gradient in gradients:
        g = gradient + DECAY * weight
        square = smoothing * square + (1 - smoothing) * g**2
        mean = smoothing * mean + (1 - smoothing) * g
        spread = (square - mean**2 if centered else square).sqrt() + eps
        update = momentum * update + g / spread
        weight = weight - LR * update
    return weight


def adagrad(weight, gradients, eps=1e-10, start=0.0):
    total = torch.full_like(weight, start)
    for gradient in gradients:
        g = gradient + DECAY * weight
        total = total + g**2
        weight = weight - LR * g / (total.sqrt() + eps)
    return weight


def newton_schulz(x, iterations=5):
    """Keller Jordan's quintic, on the matrix as it stands; his code transposes tall ones, which changes nothing."""
    x = x / x.norm()
    for _ in range(iterations):
        x = 3.4445 * x - 4.7750 * (x @ x.T @ x) + 2.0315 * (x @ x.T @ x @ x.T @ x)
    return x


def muon(weight, gradients, momentum=0.95, nesterov=True, scale="shape"):
    mean = torch.zeros_like(weight)
    rows, columns = weight.shape
    factor = 0.2 * math.sqrt(max(rows, columns)) if scale == "rms" else math.sqrt(max(1, rows / columns))
    for g in gradients:
        mean = momentum * mean + (1 - momentum) * g
        wanted = (1 - momentum) * g + momentum * mean if nesterov else mean
        weight = weight - LR * (factor * newton_schulz(wanted) + DECAY * weight)
    return weight
