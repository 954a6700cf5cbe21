"""``python -m benchmarks layers``: PatchConv, AUCrops and the Hopfield layer, each against the loop that it replaces.

PatchConv also stands beside a plain Conv–BatchNorm–PReLU–Conv on the same map, which does the same arithmetic and has
none of its parts.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorral_lite.device import threads
from lorral_lite.facs import AU_SETS
from lorral_lite.landmarks import au_centers
from lorral_lite.model import AUCrops, PatchConv
from lorral_lite.model.relations import HopfieldRelation

from . import Goal, Table
from .timing import flops, in_turns, launches, per, ratio

ROUNDS = 9
EVAL, TRAIN = "forward", "forward and backward"
FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def measure(device: torch.device, tiny: bool) -> Iterator[Table]:
    """Three layers, on one CPU thread or on the GPU."""
    rounds = 2 if tiny else ROUNDS
    with threads(1):
        yield from patch_conv_tables(device, [(2, 4, 16, 2)] if tiny else [(8, 32, 176, 8), (8, 32, 88, 8)], rounds)
        crops = [(2, 3, 22, 6)] if tiny else [(16, 32, 22, 6), (16, 64, 44, 8)]
        yield Table("AUCrops: all action units of all faces at once, against a loop over faces and action units",
                    COLUMNS, [_against(f"({b}, {c}, {side}, {side}), crops of {size}, {mode}", *pair, rounds, device)
                              for b, c, side, size in crops for mode, pair in crop_pair(b, c, side, size, device)], HOW)
        shapes = [(2, 8, 2)] if tiny else [(16, 24, 2), (16, 160, 2), (16, 160, 8)]
        yield Table("Hopfield layer: all heads at once, against a loop over faces and heads", COLUMNS,
                    [_against(f"({b}, 12, {dim}), {steps} steps, {mode}", *pair, rounds, device)
                     for b, dim, steps in shapes for mode, pair in hopfield_pair(b, dim, steps, device)], HOW)


COLUMNS = ["input", "at once, ms", "loop, ms", "loop / at once", "launches", "launches of the loop", "difference"]
HOW = ("ms a batch, median (quartiles) of rounds in turns. Launches: kernels on a GPU, operators on a CPU. "
       "Difference: the largest between the two results (backward: the gradients of the input).")


def _against(what: str, fast: Callable, loop: Callable, rounds: int, device: torch.device) -> list:
    times = in_turns({"fast": fast, "loop": loop}, rounds, device, least=0.05)
    difference = float((fast() - loop()).abs().max())
    return [what, per(times["fast"]), per(times["loop"]), ratio(times["loop"], times["fast"]),
            launches(fast, device), launches(loop, device), difference]


# ---------------------------------------------------------------------------------------------------------- PatchConv


class LoopPatchConv(nn.Module):
    """PatchConv by its definition: BatchNorm, PReLU and Conv2d of each part are its own modules, called one by one.

    The parts are slices of the map, as in notebook 03, or with ``chunks`` those of ``torch.chunk``, whose backward
    pass writes the map once instead of once a part: the fastest loop we know.
    """

    def __init__(self, layer: PatchConv, chunks: bool) -> None:
        super().__init__()
        self.chunks = chunks
        self.grid, width = layer.grid, layer.conv.out_channels
        self.conv = deepcopy(layer.conv)
        self.parts = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width), nn.PReLU(width), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(self.grid**2)
        )
        for i, part in enumerate(self.parts):
            rows = slice(i * width, (i + 1) * width)
            for mine, all_parts in zip(part, (layer.part_norm, layer.part_act, layer.part_conv), strict=True):
                mine.load_state_dict({k: v[rows] if v.ndim else v for k, v in all_parts.state_dict().items()})

    def forward(self, x: Tensor) -> Tensor:
        x, parts = self.conv(x), iter(self.parts)
        if self.chunks:
            strips = [strip.chunk(self.grid, dim=3) for strip in x.chunk(self.grid, dim=2)]
        else:
            h, w = x.shape[2] // self.grid, x.shape[3] // self.grid
            strips = [[x[:, :, r * h : (r + 1) * h, c * w : (c + 1) * w] for c in range(self.grid)]
                      for r in range(self.grid)]
        return torch.cat([torch.cat([next(parts)(cell) for cell in strip], dim=3) for strip in strips], dim=2)


def patch_conv_tables(device: torch.device, sizes: list[tuple[int, int, int, int]], rounds: int) -> Iterator[Table]:
    rows, counts, goals, gpu = [], [], [], device.type == "cuda"
    for b, width, side, grid in sizes:
        for layout in FORMATS:
            times, difference, counted = _patch_conv(device, b, width, side, grid, layout, rounds)
            for mode, run in times.items():
                shape = f"({b}, {width}, {side}, {side}) {layout}, {mode}"
                to_plain, to_loop = ratio(run["PatchConv"], run["plain"]), ratio(run["loop"], run["PatchConv"])
                rows.append([shape, *(per(values) for values in run.values()), to_plain, to_loop,
                             ratio(run["chunks"], run["PatchConv"]), difference[mode]])
                launched = counted[mode]
                counts.append([shape, *launched.values(), launched["loop"] / launched["PatchConv"]])
                backward = mode == TRAIN
                goals.append(Goal(f"PatchConv / plain, {shape}", to_plain.median, 1.6 if backward else 2.0))
                goals.append(Goal(f"difference to the loop, {shape}", difference[mode], 1e-5))
                if backward:
                    least = 5.0 if gpu else 1.2
                    goals.append(Goal(f"slices / PatchConv, {shape}", to_loop.median, least, at_least=True))
    yield Table(f"PatchConv, {sizes[0][3]}×{sizes[0][3]} parts, ms a batch",
                ["input", "PatchConv", "plain", "loop over slices", "loop over chunks", "PatchConv / plain",
                 "slices / PatchConv", "chunks / PatchConv", "difference to slices"],
                rows, f"{EVAL}: eval mode. {TRAIN}: training mode, gradients of input and parameters. Median "
                "(quartiles) of rounds in turns. The plain stack does the same FLOPs. Difference: the largest between "
                "the two outputs, in that mode.", goals)
    yield Table("Launches of PatchConv", ["input", "PatchConv", "plain", "loop over slices", "loop over chunks",
                                           "slices / PatchConv"], counts,
                "Kernels on a GPU; on a CPU the operators that touch numbers.")


def _patch_conv(device, b: int, width: int, side: int, grid: int, layout: str, rounds: int):
    """{mode: {net: seconds}}, {mode: largest difference to the loop}, {mode: {net: launches}}."""
    torch.manual_seed(0)
    patch = PatchConv(width, width, grid).to(device)
    plain = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.PReLU(width),
                          nn.Conv2d(width, width, 3, padding=1)).to(device)
    nets = {"PatchConv": patch, "plain": plain, "loop": LoopPatchConv(patch, chunks=False).to(device),
            "chunks": LoopPatchConv(patch, chunks=True).to(device)}
    nets = {name: net.to(memory_format=FORMATS[layout]) for name, net in nets.items()}
    x = torch.randn(b, width, side, side, device=device).to(memory_format=FORMATS[layout])
    direction = torch.randn(b, width, side, side, device=device).to(memory_format=FORMATS[layout])

    @torch.no_grad()
    def forward(net: nn.Module) -> Tensor:
        return net.eval()(x)

    def backward(net: nn.Module) -> Tensor:
        net.train().zero_grad()
        y = net(x.detach().requires_grad_())
        y.backward(direction)
        return y.detach()

    assert flops(lambda: forward(patch)) == flops(lambda: forward(plain)), "the plain stack must do the same arithmetic"
    times, difference, counted = {}, {}, {}
    for mode, run in ((EVAL, forward), (TRAIN, backward)):
        difference[mode] = float((run(patch) - run(nets["loop"])).abs().max())  # both have seen the same batches
        calls = {name: partial(run, net) for name, net in nets.items()}
        times[mode] = in_turns(calls, rounds, device, least=0.05)
        counted[mode] = {name: launches(call, device) for name, call in calls.items()}
    return times, difference, counted


# --------------------------------------------------------------------------------------------------- crops, Hopfield


def _both_ways(net: Callable, loop: Callable, x: Tensor, parameters=()) -> Iterator[tuple[str, tuple]]:
    """(EVAL, (net, loop)) and (TRAIN, (net, loop)) as calls without arguments that return a tensor."""

    def value(f):
        with torch.no_grad():
            return f(x)

    def gradient(f):
        for p in parameters:
            p.grad = None
        leaf = x.detach().requires_grad_()
        f(leaf).sum().backward()
        return leaf.grad

    yield EVAL, (lambda: value(net), lambda: value(loop))
    yield TRAIN, (lambda: gradient(net), lambda: gradient(loop))


def crop_pair(b: int, channels: int, side: int, size: int, device: torch.device):
    """AUCrops and the loop over faces, action units and windows, which reads each with its own ``grid_sample``."""
    torch.manual_seed(0)
    aus, image = AU_SETS["bp4d"], 4.0 * side
    layer = AUCrops(aus, size).to(device)
    points = image * (0.2 + 0.6 * torch.rand(b, 49, 2, device=device))
    cells = torch.arange(size, device=device) - (size - 1) / 2

    def loop(features: Tensor) -> Tensor:
        faces = []
        for face, landmarks in zip(features, points, strict=True):
            for au in aus:
                for x, y in au_centers(landmarks, (au,))[0]:
                    across, down = ((2 * v + 1) / image - 1 + cells * (2 / side) for v in (x, y))
                    grid = torch.stack(torch.broadcast_tensors(across, down[:, None]), dim=-1)
                    faces.append(F.grid_sample(face[None], grid[None], padding_mode="zeros", align_corners=False)[0])
        return torch.stack(faces).reshape(b, len(aus), 2, channels, size, size)

    yield from _both_ways(lambda f: layer(f, points, image), loop, torch.randn(b, channels, side, side, device=device))


def hopfield_pair(b: int, dim: int, steps: int, device: torch.device):
    """What the heads of the Hopfield layer do, and the loop over faces, heads and updates."""
    torch.manual_seed(0)
    layer = HopfieldRelation(dim, 12, steps=steps).to(device).eval().layers[0]
    width = dim // layer.heads

    def loop(tokens: Tensor) -> Tensor:
        faces = []
        for face in tokens:
            q, k, v = (part(face) for part in (layer.query, layer.key, layer.value))
            heads = []
            for h in range(layer.heads):
                mine = slice(h * width, (h + 1) * width)
                state = q[:, mine]
                for step in range(steps):
                    weights = (layer.beta * state @ k[:, mine].T).softmax(-1)
                    state = weights @ (k if step < steps - 1 else v)[:, mine]
                heads.append(state)
            faces.append(layer.out(torch.cat(heads, dim=-1)))
        return torch.stack(faces)

    yield from _both_ways(layer.attend, loop, torch.randn(b, 12, dim, device=device), list(layer.parameters()))
