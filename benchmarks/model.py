"""``python -m benchmarks model``: time, FLOPs and memory of inference and of training steps, for paper() and lite().

A training step is forward, loss, backward and SGD on random images; inference is forward in eval mode. All
cores (or as many as OMP_NUM_THREADS says), or the GPU. What PyTorch can reach here is taken from a large matrix product
in the same rounds.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from lorral_lite.device import threads
from lorral_lite.model.lorral import LoRRaL, LoRRaLConfig, Output
from lorral_lite.model.losses import lorral_loss

from . import Goal, Table
from .timing import flops, in_turns, peak_memory, per, ratio

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
SETTINGS = [(precision, layout) for precision in DTYPES for layout in LAYOUTS]
PROTOTYPE = {("fp32", "training"): 106.0, ("bf16", "training"): 61.0, ("bf16", "inference"): 19.0}
"""ms an image of paper() in an early prototype on 2 CPU cores, bf16 with channels-last: what to beat."""


def measure(device: torch.device, tiny: bool) -> Iterator[Table]:
    """FLOPs, the grid of settings, compiled or not, memory, and paper() beside a plain stack of equal FLOPs."""
    profiles, batches, rounds = (["lite"], [2], 1) if tiny else (["lite", "paper"], [1, 8, 32], 3)
    with threads(1 if tiny else torch.get_num_threads()):
        work = {name: work_of_one_image(name) for name in profiles}
        yield Table("FLOPs of one image", ["model", "parameters", "inference, GFLOP", "training step, GFLOP"],
                    [[name, sum(p.numel() for p in make(name).parameters()), *(w / 1e9 for w in work[name].values())]
                     for name in profiles],
                    "Matrix products and convolutions; a multiply-add counts two. A training step counts as three "
                    "times inference: the gradients of a layer's input and of its weights cost as much each.")
        rows = [_speed(name, batch, *setting, work[name], rounds, device)
                for name in profiles for batch in batches for setting in SETTINGS]
        yield Table("Speed", ["model", "batch", "precision", "layout", "inference, ms/image", "images/s",
                              "share of matrix product", "training step, ms/image", "images/s",
                              "share of matrix product"], rows,
                    f"{torch.get_num_threads()} threads. Median (quartiles) of {rounds} rounds. The share is of the "
                    "FLOP/s of a large matrix product of the same precision in the same rounds.")
        yield beside_plain_stack(profiles[-1], 2 if tiny else 8, 2 if tiny else 5, device)
        yield memory_table(profiles, batches, ["fp32"] if tiny else list(DTYPES), device)
        if device.type == "cuda":
            yield host_table(profiles[-1], batches[-1], device)
        if not tiny:
            yield compiled_table([("lite", "fp32"), ("paper", "bf16")], 8, device)


# ------------------------------------------------------------------------------------------------------- what is timed


def make(name: str) -> LoRRaL:
    """The model of that name, with equal weights every time."""
    torch.manual_seed(0)
    return LoRRaL({"lite": LoRRaLConfig.lite, "paper": LoRRaLConfig.paper}[name]())


def steps(net: nn.Module, call: Callable, loss: Callable, image: int, batch: int, precision: str, layout: str,
          device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """{"inference": …, "training": …}: calls without arguments. ``call`` is ``net``, perhaps compiled."""
    net.to(device).to(memory_format=LAYOUTS[layout])
    images = torch.randn(batch, 3, image, image).to(device, memory_format=LAYOUTS[layout])
    trained = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-5, momentum=0.9, weight_decay=5e-4)
    mixed = partial(torch.autocast, device.type, DTYPES["bf16"], enabled=precision == "bf16")

    def inference():
        net.train(False)
        with torch.inference_mode(), mixed():
            return call(images)

    def training():
        net.train(True)
        with mixed():
            answer = call(images)
        total = loss(answer)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()

    return {"inference": inference, "training": training}


def lorral_steps(name: str, batch: int, precision: str, layout: str, device: torch.device, compiled: bool = False,
                 step2: bool = False):
    """:func:`steps` of LoRRaL with its own loss; ``step2``: with self-attention, frozen as in step 2 of the paper."""
    net = make(name)
    if step2:
        net.set_relation("self_attention", seed=0)
        net.freeze_step1(train_landmarks=True)
    image = net.config.image_size
    labels = torch.randint(0, 2, (batch, len(net.config.aus)), dtype=torch.int8).to(device)
    landmarks = (torch.rand(batch, 49, 2) * image).to(device)

    def loss(answer: Output) -> Tensor:
        return lorral_loss(Output(*(part.float() for part in answer)), labels, landmarks).total

    return steps(net, torch.compile(net) if compiled else net, loss, image, batch, precision, layout, device)


def work_of_one_image(name: str) -> dict[str, int]:
    """FLOPs of one image: counted for inference, three times as many for a training step.

    The gradients of a layer's input and weights cost as much as the layer itself each. PyTorch's own count of the
    backward pass of a convolution in groups leaves the groups out.
    """
    call = lorral_steps(name, 1, "fp32", "contiguous", torch.device("cpu"))["inference"]
    return {"inference": (once := flops(call)), "training": 3 * once}


def matrix_product(precision: str, device: torch.device) -> tuple[Callable, int]:
    """A product large enough to show what the device reaches, and its FLOPs."""
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    out = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=out), 2 * side**3


def _speed(name: str, batch: int, precision: str, layout: str, work: dict, rounds: int, device) -> list:
    calls = lorral_steps(name, batch, precision, layout, device)
    product, product_work = matrix_product(precision, device)
    times = in_turns({**calls, "product": product}, rounds, device, least=0.1)
    row = [name, batch, precision, layout]
    for kind in ("inference", "training"):
        one = per(times[kind], batch)
        share = ratio([t / product_work for t in times["product"]], [t / (work[kind] * batch) for t in times[kind]])
        row += [one, 1e3 / one.median, share.median]
    return row


# ------------------------------------------------------------------------------------ a plain stack with the same FLOPs


def plain_stack(image: int, widths: tuple[int, int], wanted: float, outputs: int) -> nn.Sequential:
    """Five times (Conv 3×3, BatchNorm, PReLU) × 2 and a max-pool, then a linear layer.

    The first two stages have ``widths``, the other three as many channels as bring the whole closest to ``wanted``
    FLOPs.
    """

    def work(c: int) -> float:
        total, before, side = 0.0, 3, image
        for width in (*widths, c, c, c):
            total += 2 * 9 * side**2 * (before * width + width**2)
            before, side = width, side // 2
        return total

    c = min(range(8, 1025, 2), key=lambda c: abs(work(c) - wanted))
    net, before = nn.Sequential(), 3
    for width in (*widths, c, c, c):
        for fan_in in (before, width):
            net.extend([nn.Conv2d(fan_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.PReLU(width)])
        net.append(nn.MaxPool2d(2))
        before = width
    return net.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, outputs)])


def beside_plain_stack(name: str, batch: int, rounds: int, device: torch.device) -> Table:
    """The model's training step against that of the stack, in turns."""
    model = make(name)
    c = model.config
    wanted = work_of_one_image(name)["inference"]
    labels = torch.randint(0, 2, (batch, len(c.aus)), device=device).float()

    def loss(logits: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)

    rows, goals = [], []
    for precision, layout in SETTINGS:
        net = plain_stack(c.image_size, c.patch_channels, wanted, len(c.aus))
        stack = steps(net, net, loss, c.image_size, batch, precision, layout, device)
        stack_work = flops(stack["inference"]) / batch
        ours = lorral_steps(name, batch, precision, layout, device)
        times = in_turns({f"{who} {kind}": call for who, calls in (("ours", ours), ("stack", stack))
                          for kind, call in calls.items()}, rounds, device)
        row: list = [precision, layout, stack_work / wanted]
        for kind in ("inference", "training"):
            mine, theirs = times[f"ours {kind}"], times[f"stack {kind}"]
            found, one = ratio(mine, theirs), per(mine, batch)
            row += [one, per(theirs, batch), found]
            if kind == "training":
                goals.append(Goal(f"training step / stack, {precision} {layout}", found.median, 1.6))
            limit = PROTOTYPE.get((precision, kind))
            two_cores = device.type == "cpu" and torch.get_num_threads() > 1
            if limit and name == "paper" and two_cores and (precision, layout) != ("bf16", "contiguous"):
                goals.append(Goal(f"{kind}, ms/image (the prototype's), {precision} {layout}", one.median, limit))
        rows.append(row)
    return Table(f"{name}() beside a plain convolution stack of equal FLOPs, batch {batch}",
                 ["precision", "layout", "FLOPs, stack / model", "inference, ms/image", "stack", "ratio",
                  "training step, ms/image", "stack", "ratio"], rows,
                 f"{torch.get_num_threads()} threads, median (quartiles) of {rounds} rounds in turns. The stack is "
                 "five times two Conv 3×3, BatchNorm, PReLU and a max-pool, on the same images.", goals)


# ------------------------------------------------------------------------------------------------- memory, compilation


def run_once(name: str, batch: int, precision: str, kind: str, device: str) -> None:
    """What :func:`benchmarks.timing.peak_memory` calls in a fresh process."""
    call = lorral_steps(name, batch, precision, "channels-last", torch.device(device))[kind]
    call()
    call()


def memory_table(profiles: list[str], batches: list[int], precisions: list[str], device: torch.device) -> Table:
    """Peak memory, model and images included."""

    def peak(**setting) -> float | None:
        if device.type == "cpu":
            return peak_memory("benchmarks.model:run_once", device="cpu", **setting)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        run_once(device=str(device), **setting)
        return torch.cuda.max_memory_allocated(device) / 2**20

    rows = [[name, batch, precision, *(peak(name=name, batch=batch, precision=precision, kind=kind)
                                       for kind in ("inference", "training"))]
            for name in profiles for batch in batches for precision in precisions]
    return Table("Peak memory, MiB", ["model", "batch", "precision", "inference", "training step"], rows,
                 "Channels-last; model, optimiser and images included. On a CPU what a fresh process adds to its "
                 "imports; on a GPU what PyTorch has allocated at most.")


def compiled_table(settings: list[tuple[str, str]], batch: int, device: torch.device) -> Table:
    """torch.compile where there is a compiler for it; else the row says why not."""
    import torch._inductor.config  # not needed by anything else, and slow to import

    rows: list[list] = []
    for name, precision in settings:
        eager = lorral_steps(name, batch, precision, "channels-last", device)
        fast = lorral_steps(name, batch, precision, "channels-last", device, compiled=True)
        for kind in ("inference", "training"):
            row = [name, precision, kind]
            try:
                start = time.perf_counter()
                with torch._inductor.config.patch(force_disable_caches=True), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the compiler talks about its own choices
                    fast[kind]()
                took = time.perf_counter() - start
                times = in_turns({"eager": eager[kind], "compiled": fast[kind]}, 3, device, least=0.1)
                rows.append([*row, per(times["eager"], batch), per(times["compiled"], batch),
                             ratio(times["eager"], times["compiled"]), took, ""])
            except Exception as error:  # whatever the compiler raises
                rows.append([*row, None, None, None, None, f"{type(error).__name__}"])
    return Table(f"Compiled with torch.compile, channels-last, batch {batch}",
                 ["model", "precision", "call", "eager, ms/image", "compiled, ms/image", "gain", "compiling, s",
                  "failed"], rows, "Compiling, with nothing kept from earlier, is counted apart. Median (quartiles) of "
                 "rounds in turns.")


def host_table(name: str, batch: int, device: torch.device) -> Table:
    """What a training step on the GPU says to the host: it should wait for nothing."""
    step = lorral_steps(name, batch, "bf16", "channels-last", device)["training"]
    step()
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        step()
    events = [event.name for event in record.events()]
    waits = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy", "aten::item", "aten::_local_scalar_dense",
             "aten::nonzero", "Memcpy DtoH", "Memcpy HtoD")
    rows = [[what, sum(event.startswith(what) for event in events)] for what in waits]
    rows[1][1] = max(0, rows[1][1] - 1)  # the profiler itself waits once when it stops
    rows.append(["kernels", sum(e.device_type == torch.autograd.DeviceType.CUDA for e in record.events())])
    return Table(f"{name}(), one training step on the GPU: what makes it wait for the host", ["event", "times"], rows,
                 "From torch.profiler.", [Goal(row[0], row[1], 0) for row in rows[:-1]])
