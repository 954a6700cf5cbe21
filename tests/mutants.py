"""``make mutants``: one changed line each, and the test file that must notice it; exit 1 unless all are killed.

Every mutant is applied to a copy of the package in a temporary folder, never to the package itself, and its test file
runs there in a process of its own with ``pytest -x``. First the test files run on the unchanged copy: they must pass.
"""

import compileall
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PATCH, FEAT, CROPS = "model/patch_conv.py", "model/feat_conv.py", "model/au_crops.py"
ATTENTION, HOPFIELD = "model/relations/self_attention.py", "model/relations/hopfield.py"
BILSTM, CONTROLS = "model/relations/bilstm.py", "model/relations/identity.py"
DEAF = "model/relations/deaf.py"
SERIES, LORRAL, LOSSES = "model/relations/series.py", "model/lorral.py", "model/losses.py"
METRICS, STEPS, CONFIG = "measure/metrics.py", "training/steps.py", "training/config.py"
CACHE = "training/feature_cache.py"
TESTS = {
    PATCH: "model/test_patch_conv.py", FEAT: "model/test_feat_conv.py", CROPS: "model/test_au_crops.py",
    ATTENTION: "model/relations/test_self_attention.py", HOPFIELD: "model/relations/test_hopfield.py",
    BILSTM: "model/relations/test_bilstm.py", CONTROLS: "model/relations/test_controls.py",
    DEAF: "model/relations/test_deaf.py", SERIES: "model/relations/test_series.py",
    "landmarks.py": "test_landmarks.py", LOSSES: "model/test_losses.py",
    METRICS: "measure/test_metrics.py", LORRAL: "model/test_model.py model/test_readings.py",
    CONFIG: "training/test_training.py",
    STEPS: "training/test_training.py", CACHE: "training/test_feature_cache.py",
}
"""File of the package → the file or files of the tests that guard it."""

MUTANTS = [
    (PATCH, "self.part_conv = nn.Conv2d(folded, folded, 3, padding=0 if halo else 1, groups=grid * grid)",
     'self.part_conv = nn.Conv2d(folded, folded, 3, padding=0 if halo else 1, groups=grid * grid, '
     'padding_mode="replicate")'),
    (PATCH, "return x + unfold(parts, self.grid) if self.identity else unfold(parts, self.grid)",
     "return x + unfold(parts, self.grid)"),
    (PATCH, "parts = x.unfold(2, h + 2, h).unfold(3, w + 2, w)",
     "parts = x.unfold(3, w + 2, w).unfold(2, h + 2, h)"),
    (PATCH, "parts = parts.permute(0, 2, 4, 1, 3, 5).reshape(b, h // grid, w // grid, grid * grid * c)",
     "parts = parts.permute(0, 2, 4, 3, 1, 5).reshape(b, h // grid, w // grid, grid * grid * c)"),
    (PATCH, "return x.permute(0, 3, 1, 4, 2, 5).reshape(b, grid * h, grid * w, c // grid**2).permute(0, 3, 1, 2)",
     "return x.permute(0, 4, 1, 3, 2, 5).reshape(b, grid * h, grid * w, c // grid**2).permute(0, 3, 1, 2)"),
    (PATCH, "parts = self.part_conv(self.part_act(self.part_norm(parts)))",
     "parts = self.part_conv(self.part_norm(self.part_act(parts)))"),
    (PATCH, "if x.shape[-2] % self.grid or x.shape[-1] % self.grid:",
     "if x.shape[-2] % self.grid and x.shape[-1] % self.grid:"),
    (PATCH, "self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)",
     'self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="circular")'),
    (FEAT, "x = self.act1(self.norm1(self.conv1(x)))", "x = self.norm1(self.act1(self.conv1(x)))"),
    (FEAT, "x = self.act2(self.norm2(self.conv2(x)))", "x = self.act2(self.conv2(x))"),
    (FEAT, "return self.pool(x)", "return 4 * nn.functional.avg_pool2d(x, 2)"),
    (FEAT, "self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=groups)",
     "self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)"),
    (FEAT, "self.pool = nn.MaxPool2d(2)", "self.pool = nn.MaxPool2d(2, ceil_mode=True)"),
    (CROPS, 'self.register_buffer("offsets", torch.arange(size) - (size - 1) / 2, persistent=False)',
     'self.register_buffer("offsets", torch.arange(size) - size / 2, persistent=False)'),
    (CROPS, "centers = (2 * au_centers(landmarks.detach(), self.aus) + 1) / image_size - 1",
     "centers = 2 * au_centers(landmarks.detach(), self.aus) / image_size - 1"),
    (CROPS, "centers = (2 * au_centers(landmarks.detach(), self.aus) + 1) / image_size - 1",
     "centers = (2 * au_centers(landmarks, self.aus) + 1) / image_size - 1"),
    (CROPS, "y = centers[..., 1, None, None] + offsets[:, None] * (2 / h)",
     "y = centers[..., 1, None, None] + offsets[:, None] * (2 / w)"),
    (CROPS, 'crops = F.grid_sample(features.to(grid.dtype), grid, padding_mode="zeros", align_corners=False)',
     'crops = F.grid_sample(features.to(grid.dtype), grid, padding_mode="border", align_corners=False)'),
    (CROPS, 'crops = F.grid_sample(features.to(grid.dtype), grid, padding_mode="zeros", align_corners=False)',
     'crops = F.grid_sample(features.to(grid.dtype), grid, padding_mode="zeros", align_corners=True)'),
    (ATTENTION, "pos = torch.arange(length, dtype=torch.float64)[:, None]",
     "pos = torch.arange(1, length + 1, dtype=torch.float64)[:, None]"),
    (ATTENTION, "angle = pos / 10000 ** (even / dim)", "angle = pos / 1000 ** (even / dim)"),
    (ATTENTION, "pe = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :dim]",
     "pe = torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :dim]"),
    (ATTENTION, "weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)",
     "weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-2)"),
    (ATTENTION, "weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)",
     "weights = (q @ k.mT / q.shape[-1]).softmax(dim=-1)"),
    (ATTENTION, "x = self.norm1(x + self.dropout(self.attend(x)))", "x = self.norm1(self.dropout(self.attend(x)))"),
    (ATTENTION, "return self.norm2(x + self.dropout(self.mlp(x)))", "return x + self.norm2(self.dropout(self.mlp(x)))"),
    (ATTENTION, "x = self.dropout(self.norm(self.linear(self.check_tokens(tokens)))) + self.position",
     "x = self.dropout(self.norm(self.linear(self.check_tokens(tokens))) + self.position)"),
    (ATTENTION, "self.attention = weights.detach()", "self.attention = weights"),
    (ATTENTION, "return self.layers[-1].attention", "return self.layers[0].attention"),
    (ATTENTION, "return self.out(heard.transpose(1, 2).flatten(-2))", "return heard.transpose(1, 2).flatten(-2)"),
    (HOPFIELD, "return (beta * state @ stored.mT).softmax(dim=-1)",
     "return (beta * state @ stored.mT).softmax(dim=-2)"),
    (HOPFIELD, "for _ in range(steps):", "for _ in range(steps + 1):"),
    (HOPFIELD, "state = association(state, stored, beta) @ stored",
     "state = (state + association(state, stored, beta) @ stored) / 2"),
    (HOPFIELD, "lse = (beta * state @ stored.mT).logsumexp(dim=-1) / beta",
     "lse = (beta * state @ stored.mT).logsumexp(dim=-1)"),
    (HOPFIELD, "largest = stored.square().sum(-1).amax(-1, keepdim=True)",
     "largest = stored.square().sum(-1).mean(-1, keepdim=True)"),
    (HOPFIELD, "return -lse + state.square().sum(-1) / 2 + math.log(stored.shape[-2]) / beta + largest / 2",
     "return -lse + state.square().sum(-1) / 2 + math.log(stored.shape[-1]) / beta + largest / 2"),
    (HOPFIELD, "self.beta = (dim // heads) ** -0.5 if beta is None else beta",
     "self.beta = dim ** -0.5 if beta is None else beta"),
    (HOPFIELD, "self.beta = dim**-0.5 if beta is None else beta", "self.beta = 1 / dim if beta is None else beta"),
    (HOPFIELD, "q = hopfield_retrieve(q, k, self.beta, self.steps - 1)",
     "q = hopfield_retrieve(q, v, self.beta, self.steps - 1)"),
    (HOPFIELD, "state = hopfield_retrieve(state, stored, self.beta, self.steps - 1)",
     "state = hopfield_retrieve(state, stored, self.beta, self.steps)"),
    (BILSTM, "self.lstm = nn.LSTM(dim, dim // 2, batch_first=True, bidirectional=True)",
     "self.lstm = nn.LSTM(dim, dim // 2, batch_first=False, bidirectional=True)"),
    (BILSTM, "self.lstm = nn.LSTM(dim, dim // 2, batch_first=True, bidirectional=True)",
     "self.lstm = nn.LSTM(dim, dim, batch_first=True)"),
    (BILSTM, "return tokens + new if self.residual else new", "return tokens + new"),
    (BILSTM, "new, _ = self.lstm(self.check_tokens(tokens))",
     "new, _ = self.lstm(self.check_tokens(tokens).flip(1))"),
    (DEAF, "part.__class__ = LoneLSTM", "pass"),
    (DEAF, "new, _ = super().forward(tokens.flatten(0, 1)[:, None])",
     "new, _ = super().forward(tokens.flatten(0, 1)[None])"),
    (DEAF, "part.deaf = True", "part.deaf = False"),
    (CONTROLS, "return self.check_tokens(tokens) + self.mlp(tokens)", "return self.mlp(self.check_tokens(tokens))"),
    (CONTROLS, "return self.check_tokens(tokens) + self.mlp(tokens)",
     "return self.check_tokens(tokens) + self.mlp(tokens.mean(1, keepdim=True))"),
    (CONTROLS, "return self.check_tokens(tokens)", "return 2 * self.check_tokens(tokens)"),
    (CONTROLS, "parameters = 13 * dim**2 + 16 * dim if parameters is None else parameters",
     "parameters = 12 * dim**2 + 16 * dim if parameters is None else parameters"),
    (CONTROLS, "if tokens.ndim != 3 or tokens.shape[1:] != (self.num_aus, self.dim):", "if tokens.ndim != 3:"),
    (SERIES, "return self.hopfield(self.self_attention(self.bilstm(tokens)))",
     "return self.self_attention(self.hopfield(self.bilstm(tokens)))"),
    (SERIES, "self.hopfield = HopfieldRelation(dim, num_aus, steps, beta, **options)",
     "self.hopfield = HopfieldRelation(dim, num_aus, steps, None, **options)"),
    (SERIES, "self.self_attention = SelfAttentionRelation(dim, num_aus, **options)",
     "self.self_attention = HopfieldRelation(dim, num_aus, **options)"),
    (SERIES, "return self.hopfield.attention", "return self.self_attention.attention"),
    ("landmarks.py", "BOX_SCALE = 2.9", "BOX_SCALE = 2.8"),
    ("landmarks.py", "rotation = np.array([[dx, dy], [-dy, dx]]) / length",
     "rotation = np.array([[dx, -dy], [dy, dx]]) / length"),
    ("landmarks.py", "half = 0.5 * BOX_SCALE * (high - low).max()", "half = 0.5 * BOX_SCALE * (high - low).min()"),
    ("landmarks.py", "centre = (low + high) / 2", "centre = five.mean(0)"),
    ("landmarks.py", "return abs(points[..., 22, 0] - points[..., 25, 0])",
     "return abs(points[..., 21, 0] - points[..., 25, 0])"),
    ("landmarks.py", "gap = points[..., 19:25, :].mean(-2) - points[..., 25:31, :].mean(-2)",
     "gap = points[..., 19:24, :].mean(-2) - points[..., 25:31, :].mean(-2)"),
    ("landmarks.py", "x = (width - 1) - mirrored[..., 0]", "x = width - mirrored[..., 0]"),
    (LOSSES, "per_au = (each * known).sum(0) / known.sum(0).clamp(min=1)", "per_au = (each * known).mean(0)"),
    (LOSSES, "return (per_au * any_known).sum() / any_known.sum().clamp(min=1)",
     "return (per_au * any_known).mean()"),
    (LOSSES, "dice = (2 * (p * y).sum(0) + 1) / (p.square().sum(0) + y.square().sum(0) + 1)",
     "dice = (2 * (p * y).sum(0) + 1) / (p.sum(0) + y.sum(0) + 1)"),
    (LOSSES, "p, y = logits.sigmoid() * known, target", "p, y = logits.sigmoid(), target"),
    (LOSSES, "return (squared / (2 * interocular(truth).square().clamp(min=1))).mean()",
     "return (squared / interocular(truth).square().clamp(min=1)).mean()"),
    (LOSSES, "return (squared / (2 * interocular(truth).square().clamp(min=1))).mean()",
     "return (squared / (2 * interocular(predicted).square().clamp(min=1))).mean()"),
    (LOSSES, "weights: tuple[float, float, float] = (1.0, 1.0, 0.5),",
     "weights: tuple[float, float, float] = (1.0, 1.0, 1.0),"),
    (LOSSES, "return (1 / rates) / (1 / rates).sum() * len(rates)", "return (1 / rates) / (1 / rates).sum()"),
    (LOSSES, "return (labels >= 0).to(logits.dtype), (labels > 0).to(logits.dtype)",
     "return (labels >= -1).to(logits.dtype), (labels > 0).to(logits.dtype)"),
    (METRICS, "predicted, positive, negative = logits >= 0, labels == 1, labels == 0",
     "predicted, positive, negative = logits > 0, labels == 1, labels == 0"),
    (METRICS, "predicted, positive, negative = logits >= 0, labels == 1, labels == 0",
     "predicted, positive, negative = logits >= 0, labels == 1, labels != 1"),
    (METRICS, "f1 = 100 * 2 * tp / np.maximum(2 * tp + fp + fn, 1)",
     "f1 = 100 * tp / np.maximum(tp + fp + fn, 1)"),
    (METRICS, "known = label >= 0", "known = label >= -1"),
    (METRICS, "return np.where(known > 0, 100 * (tp + tn) / np.maximum(known, 1), np.nan)",
     "return np.where(known > 0, 100 * tp / np.maximum(known, 1), np.nan)"),
    (METRICS, "distance = np.linalg.norm(predicted - truth, axis=-1).mean(-1)",
     "distance = np.linalg.norm(predicted - truth, axis=-1).max(-1)"),
    (METRICS, "return 100 * distance / interocular(truth)", "return 100 * distance / interocular(predicted)"),
    (LORRAL, "self.get_submodule(name).eval()", "self.get_submodule(name).train(mode)"),
    (LORRAL,
     'self.frozen = ("patch", "global_", "local") + (() if train_landmarks else ("landmark", "landmark_head"))',
     'self.frozen = ("patch", "global_") + (() if train_landmarks else ("landmark", "landmark_head"))'),
    (LORRAL, "tokens = self.relation(features.local)", "tokens = features.local"),
    (LORRAL, "return Output(self.au_head(together), self.local_head(local), features.landmarks)",
     "return Output(self.au_head(together), self.local_head(features.local), features.landmarks)"),
    (LORRAL, "predicted = (self.mean_shape + LANDMARK_UNIT * offset) * s - 0.5",
     "predicted = (self.mean_shape + LANDMARK_UNIT * offset) * s"),
    (LORRAL, "LANDMARK_UNIT = 0.1", "LANDMARK_UNIT = 1.0"),
    (CONFIG, "return self.lr * self.gamma ** (epoch // self.every)",
     "return self.lr * self.gamma ** (epoch / self.every)"),
    (CONFIG, "return self.lr * self.gamma ** (epoch // self.every)",
     "return self.lr * self.gamma ** ((epoch + 1) // self.every)"),
    (CONFIG, "every: int = 2", "every: int = 3"),
    (CONFIG, "momentum: float = 0.9", "momentum: float = 0.8"),
    (STEPS, 'group["lr"] = schedule.at(epoch)', 'group["lr"] = schedule.lr'),
    (STEPS, "torch.manual_seed(seed_of(config.seed, step, epoch))",
     "torch.manual_seed(seed_of(config.seed, step))"),
    (STEPS, "if epoch < config.true_landmark_epochs:", "if epoch <= config.true_landmark_epochs:"),
    (STEPS, "model.freeze_step1(train_landmarks=config.views == 0)",
     "model.freeze_step1(train_landmarks=False)"),
    (STEPS, "sums += torch.stack(losses).detach()", "sums = torch.stack(losses).detach()"),
    (STEPS, "u = counter_uniform(config.seed, epoch, rows[chosen.numpy()], 1)[:, 0]",
     "u = counter_uniform(config.seed, 0, rows[chosen.numpy()], 1)[:, 0]"),
    (CROPS, "if landmarks.shape != (b, NUM_LANDMARKS, 2):", "if landmarks.shape[1:] != (NUM_LANDMARKS, 2):"),
    (ATTENTION, "return self.norm2(x + self.dropout(self.mlp(x)))", "return self.norm2(x + self.mlp(x))"),
    (HOPFIELD, "self.attention = weights.detach()", "self.attention = weights"),
    (CONTROLS, "nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)",
     "nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(0.0), nn.Linear(hidden, dim)"),
    (LORRAL,
     "nn.Linear(read + 2 * self.flat, c.head_hidden), nn.PReLU(c.head_hidden), nn.Dropout(c.dropout),",
     "nn.Linear(read + 2 * self.flat, c.head_hidden), nn.PReLU(c.head_hidden), nn.Dropout(0.0),"),
    (LORRAL, "self.mean_shape.copy_((points + 0.5) / self.config.image_size)",
     "self.mean_shape.copy_(points / self.config.image_size)"),
    (LORRAL, "crops = self.crops(shared, predicted if landmarks is None else landmarks, s)",
     "crops = self.crops(shared, predicted, s)"),
    (LORRAL, "read = tokens.detach() if c.detached_head else tokens", "read = tokens"),
    (LORRAL, "read = read.mean(1) if c.mean_head else read.flatten(1)",
     "read = read.amax(1) if c.mean_head else read.flatten(1)"),
    (LORRAL, "local = features.local if c.local_before else tokens", "local = tokens"),
    (LORRAL, "self.local_head, self.au_head = heads", "self.local_head = heads[0]"),
    (LOSSES, "if landmarks.shape != output.landmarks.shape:", "if landmarks.ndim != output.landmarks.ndim:"),
    (CONFIG, "if min(self.epochs, self.every) < 1 or not 0 < self.lr < np.inf or not 0 < self.gamma <= 1:",
     "if min(self.epochs, self.every) < 1 or not 0 < self.lr < np.inf or not 0 < self.gamma:"),
    (STEPS, "model.train()", "model.eval()"),
    (STEPS, "optimiser.zero_grad(set_to_none=True)", "pass"),
    (STEPS, "weight_decay=config.weight_decay, fused=True)",
     "fused=True)"),
    (STEPS, "noise = torch.randn_like(batch[\"landmarks\"]) * config.crop_jitter * crop",
     "noise = torch.randn_like(batch[\"landmarks\"]) * config.crop_jitter"),
    (STEPS, "rates = (labels == 1).sum(0) / np.maximum((labels >= 0).sum(0), 1)",
     "rates = (labels == 1).mean(0)"),
    (STEPS, "with threads(1 if config.views else config.threads):",
     "with threads(config.threads):"),
    (STEPS, "config = replace(config, threads=read_run_config(run).threads)", "pass"),
    (STEPS, "return min(spent, key=lambda count: sum(spent[count][1:]))",
     "return max(spent, key=lambda count: sum(spent[count][1:]))"),
    (STEPS, "config = settle_threads(run, config, material, device)",
     "settle_threads(run, config, material, device)"),
    (STEPS,
     "model.set_mean_shape(torch.from_numpy(folder.landmarks[rows].mean(0) - (folder.size - crop) / 2))",
     "model.set_mean_shape(torch.from_numpy(folder.landmarks[rows].mean(0)))"),
    (CACHE, "dataset.set_epoch(view)", "dataset.set_epoch(0)"),
    (CACHE, "model.eval()", "model.train()"),
    (CACHE, 'if read_json(folder / "key.json") != '
     '{**key, "sha256": {file.name: checksum(file) for file in files}}:', "if False:"),
]
"""(file of the package, its line, the line in its place): the line as it stands there,
without indentation and comment."""


def mutate(source: str, old: str, new: str) -> str:
    """The source with its only line ``old`` replaced; ValueError when there is none or more than one."""
    lines = source.split("\n")
    places = [i for i, line in enumerate(lines) if line.split("  # ")[0].strip() == old]
    if len(places) != 1:
        raise ValueError(f"stands {len(places)} times in the file, not once: {old}")
    line = lines[places[0]]
    lines[places[0]] = line[: len(line) - len(line.lstrip())] + new
    return "\n".join(lines)


def copy_of_the_house(folder: Path) -> None:
    """The package, its data and its tests in ``folder``, compiled, so that each mutant reads only itself anew."""
    ignore = shutil.ignore_patterns("__pycache__", "notebooks", "pictures")
    for name in ("lorral_lite", "tests", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "DEVIATIONS.md"):
        shutil.copyfile(ROOT / name, folder / name)
    compileall.compile_dir(folder / "lorral_lite", quiet=2)


def replay(jobs: list[tuple], folders: list[Path], method: str) -> list[int]:
    """Pytest's exit codes of the jobs (file, tests, old line or None, new line), as many at a time as there are copies
    of the house in ``folders``; each copy is as before afterwards."""
    context, codes = multiprocessing.get_context(method), [-1] * len(jobs)
    free, running, waiting = list(folders), {}, list(enumerate(jobs))
    while waiting or running:
        while waiting and free:
            (number, (file, tests, old, new)), folder = waiting.pop(0), free.pop()
            path = folder / "lorral_lite" / file
            source = path.read_text(encoding="utf8")
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
                compiled.unlink()  # two edits within a second look alike to Python
            if old is not None:
                path.write_text(mutate(source, old, new), encoding="utf8")
            process = context.Process(target=_test, args=(str(folder), tests))
            process.start()
            running[process.sentinel] = number, process, folder, path, source
        for sentinel in wait(list(running)):
            number, process, folder, path, source = running.pop(sentinel)
            process.join()
            codes[number] = process.exitcode
            path.write_text(source, encoding="utf8")
            free.append(folder)
    return codes


def _test(folder: str, tests: str) -> None:
    import pytest

    sys.dont_write_bytecode = True
    sys.path[:0] = [folder, f"{folder}/tests"]
    os.chdir(folder)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--rootdir", folder,
                        *[f"tests/{name}" for name in tests.split()]])
    import lorral_lite

    os._exit(int(code) if lorral_lite.__file__.startswith(folder) else 99)


def main() -> int:
    """Replay all of them with as many processes as there are cores, two at most."""
    started = time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"
    import pytest  # noqa: F401 - imported here once, and not again in every process
    import scipy.ndimage  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch  # noqa: F401

    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    files = sorted(set(TESTS.values()))
    with tempfile.TemporaryDirectory() as work:
        folders = [Path(work).resolve() / str(number) for number in range(min(2, len(affinity)))]
        for folder in folders:
            copy_of_the_house(folder)
        for tests, code in zip(files, replay([("__init__.py", t, None, None) for t in files], folders, method),
                               strict=True):
            if code:
                print(f"tests/{tests} fails without any mutant (exit code {code}): mend it first")
                return 1
        codes = replay([(file, TESTS[file], old, new) for file, old, new in MUTANTS], folders, method)
    for (file, old, new), code in zip(MUTANTS, codes, strict=True):
        if code != 1:
            print(f"{'survived' if code == 0 else f'broken (exit code {code})'}: {file}\n  - {old}\n  + {new}")
    for file in TESTS:
        own = [code for mutant, code in zip(MUTANTS, codes, strict=True) if mutant[0] == file]
        print(f"{file:32}{own.count(1)}/{len(own)}")
    print(f"{codes.count(1)}/{len(codes)} mutants killed in {time.perf_counter() - started:.0f} s")
    return 0 if codes.count(1) == len(codes) else 1


if __name__ == "__main__":
    sys.exit(main())
