"""The features of a few fixed views of every training face, computed once for all relations of a run (D18, D80).

    <run>/features/  key.json  feature.local.npy  feature.global_.npy  …  labels.npy  landmarks.npy  .gitignore

The folder stays until it is deleted, which costs only the time to fill it again; it is filled anew when its key, what
the features depend on, has changed. Git ignores it and :func:`lorral_lite.reproduce.plan.publish` leaves it out.
"""

import hashlib
import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from .. import __version__
from ..datasets.prepared import FaceDataset
from ..datasets.writing import checksum, keep_private
from ..files import DataError, load_tensors, read_json, write_json
from ..model.lorral import LoRRaL
from ..output import progress_bar

MEMORY_LIMIT = 1 << 30
"""Features of up to so many bytes are read into memory; more stay on the disk and are memory-mapped."""
BLOCK = 64


def cached_features(run: Path, model: LoRRaL, dataset: FaceDataset, views: int, device, progress: bool = True,
                    scratch: Path | None = None) -> dict:
    """What step 2 needs of ``views`` fixed random views of every row of ``dataset``, from ``<run>/features``.

    Returns {name: (views, rows, …)} CPU tensors: labels, landmarks (the true ones) and feature.<field> for each field
    of :class:`lorral_lite.model.Features`. ``model`` is that of ``<run>/step1.safetensors``. ``scratch`` is where the
    folder grows until it is whole, so that two relations of a run may train at the same time. A full disk is a
    DataError.
    """
    folder = run / "features"
    key = _key(run, dataset, views, device)
    kept = _open(folder, key)
    if kept is None:
        _fill(folder, scratch or run / ".features.partial", key, model, dataset, views, device, progress)
        kept = _open(folder, key)
        if kept is None:
            raise DataError(f"{folder}: cannot be read back; delete it and give the same command again")
    return kept


def _key(run: Path, dataset: FaceDataset, views: int, device) -> dict:
    """All that the features depend on."""
    weights = load_tensors(run / "step1.safetensors")[1]["sha256"]
    rows = hashlib.sha256(np.ascontiguousarray(dataset.rows, dtype=np.int64).tobytes()).hexdigest()
    return {"version": __version__, "weights": weights, "data": dataset.folder.meta.get("sha256"), "rows": rows,
            "views": views, "seed": dataset.seed, "jitter": dataset.jitter, "device": torch.device(device).type}


def _open(folder: Path, key: dict) -> dict | None:
    """The features in a folder; None unless they are those that were written, and of this key."""
    try:
        files = sorted(folder.glob("*.npy"))
        if read_json(folder / "key.json") != {**key, "sha256": {file.name: checksum(file) for file in files}}:
            return None
        mapped = sum(file.stat().st_size for file in files) > MEMORY_LIMIT
        return {file.stem: torch.from_numpy(np.load(file, mmap_mode="c" if mapped else None)) for file in files}
    except (OSError, ValueError):
        return None


@torch.no_grad()
def _fill(folder: Path, partial: Path, key: dict, model, dataset, views: int, device, progress: bool) -> None:
    """Append view after view, block after block, to one .npy file per tensor, then rename the whole folder."""
    model.eval()
    blocks = np.array_split(np.arange(len(dataset)), -(-len(dataset) // BLOCK))
    shutil.rmtree(partial, ignore_errors=True)
    bar = progress_bar(total=views * len(blocks), desc="caching features", unit="batch", disable=not progress,
                       leave=False)
    try:
        keep_private(partial)
        with ExitStack() as stack, bar:
            files: dict = {}
            for view in range(views):
                dataset.set_epoch(view)
                for block in blocks:
                    batch = dataset[block]
                    features = model.features(batch["image"].to(device))._asdict()
                    kept = {f"feature.{name}": value for name, value in features.items()}
                    for name, value in {**kept, "labels": batch["labels"], "landmarks": batch["landmarks"]}.items():
                        array = value.cpu().numpy()
                        if name not in files:
                            files[name] = stack.enter_context(open(partial / f"{name}.npy", "wb"))
                            shape = (views, len(dataset), *array.shape[1:])
                            header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
                            np.lib.format.write_array_header_1_0(files[name], header)
                        files[name].write(array.tobytes())
                    bar.update()
        write_json(partial / "key.json", {**key, "sha256": {p.name: checksum(p) for p in partial.glob("*.npy")}})
        with FileLock(folder.with_name(".features.lock")) as lock:  # another relation may be here at this moment too
            if _open(folder, key) is None:  # else another process was faster
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(partial, folder)
            with suppress(OSError):
                Path(lock.lock_file).unlink()  # while it is held: who waits for it looks at the name again
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); free some space or choose another run "
                        "folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
