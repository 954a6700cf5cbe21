"""The prepared folder, the only thing that training reads: its format, its checks, and the torch Dataset over it.

    frames.npy     (N, S, S, 3) uint8    aligned faces
    landmarks.npy  (N, 49, 2) float32    pixels of that frame, 0-based
    labels.npy     (N, A) int8           1 shown, 0 not shown, -1 unknown
    index.csv      subject,task,frame    one row a frame
    skipped.csv    file,row,reason       what the source held and could not be used; absent when there is nothing
    meta.json      source, AUs, S, choices, counts, licensed, format version, checksums; distinct: pairs of names that
                   look like one person's and are two people's, such as [["Ann", "ann"]]

It is written by :class:`lorral_lite.datasets.writing.PreparedWriter`.
"""

import csv
import hashlib
import json
from functools import cached_property
from itertools import islice
from operator import index as whole
from pathlib import Path
from sys import intern

import numpy as np
import torch
from torch.utils.data import Dataset

from ..facs import check_aus
from ..files import DataError, check_file, read_json, reason, short_lines
from ..landmarks import FARTHEST, NUM_LANDMARKS, mirror_landmarks
from .people import check_people, same_faces
from .writing import ARRAYS, FORMAT_VERSION, check_names, checksum, from_cell

META = {"format_version": int, "aus": list, "size": int, "frames": int, "source": str, "licensed": bool, "sha256": dict,
        "population": dict}
"""What every meta.json says, and of which type; older ones have no checksums, only drawn faces a population."""
VERIFIED: dict[Path, tuple] = {}
"""What the disk says of files whose content this process has compared, and their checksum."""


class PreparedFolder:
    """An opened prepared folder: memory-mapped ``images``, ``landmarks``, ``labels``; per frame ``subjects``, ``tasks``
    (string arrays) and ``frames`` (int array); ``meta`` is meta.json, ``aus`` and ``size`` are from it.
    """

    def __init__(self, path, check: bool = False):
        self.path = Path(path)
        if not self.path.is_dir():
            raise DataError(f"{self.path}: no such folder; make one with `lorral prepare faces {self.path}`")
        self.meta = self._read_meta()
        self.aus, self.size = tuple(self.meta["aus"]), self.meta["size"]
        rows = self.meta["frames"]
        self.images = self._read("frames.npy", (rows, self.size, self.size, 3))
        self.landmarks = self._read("landmarks.npy", (rows, NUM_LANDMARKS, 2))
        self.labels = self._read("labels.npy", (rows, len(self.aus)))
        self._read_index(rows)
        self._check_values()
        if check:
            self.check_checksums()

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self):
        """Worker processes open the folder themselves: a pickled memory map would carry all its pixels."""
        return PreparedFolder, (self.path,)

    def _read_meta(self) -> dict:
        file = self.path / "meta.json"
        meta = read_json(file, "this is no prepared folder, run `lorral prepare` again")
        for name, kind in META.items():
            if type(meta.get(name, {} if kind is dict else None)) is not kind:
                what = f"{name} is {meta[name]!r:.40}" if name in meta else f"lacks {name}"
                raise DataError(f"{file}: {what}; run `lorral prepare` again")
        try:
            check_aus(map(whole, meta["aus"]))
        except (TypeError, ValueError) as error:
            raise DataError(f"{file}: {error}; run `lorral prepare` again") from None
        if meta["format_version"] != FORMAT_VERSION:
            raise DataError(
                f"{file}: format version {meta['format_version']}, this program reads {FORMAT_VERSION}; "
                "run `lorral prepare` again"
            )
        return meta

    def _read(self, name: str, shape: tuple) -> np.ndarray:
        file = self.path / name
        try:
            check_file(file)
            array = np.lib.format.open_memmap(file, mode="r")  # np.load would open archives too
        except FileNotFoundError:
            raise DataError(f"{file}: missing; run `lorral prepare` again") from None
        except Exception as error:  # NumPy raises many kinds on foreign headers
            why = f"truncated or not a .npy file ({reason(error)})"
            raise DataError(f"{file}: {why}; run `lorral prepare` again") from None
        if array.shape != shape or array.dtype != ARRAYS[name]:
            raise DataError(
                f"{file}: shape {array.shape} {array.dtype}, but meta.json says {shape} "
                f"{np.dtype(ARRAYS[name])}; run `lorral prepare` again"
            )
        return array

    def _read_index(self, rows: int) -> None:
        file = self.path / "index.csv"
        try:
            with open(file, newline="", encoding="utf8") as handle:
                reader = islice(csv.DictReader(short_lines(handle)), rows + 1)
                index = [(intern(from_cell(row["subject"])), intern(from_cell(row["task"])),
                          int(np.int64(row["frame"]))) for row in reader]
        except FileNotFoundError:
            raise DataError(f"{file}: missing; run `lorral prepare` again") from None
        except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:  # one is missing
            raise DataError(f"{file}: needs columns subject,task,frame ({error}); run `lorral prepare` again") from None
        if len(index) != rows:
            more = "more" if len(index) > rows else f"{len(index)} rows"
            raise DataError(f"{file}: {more}, but meta.json says {rows}; run `lorral prepare` again")
        columns = list(zip(*index, strict=True)) if index else ((), (), ())
        check_names(file, {*columns[0], *columns[1]})
        self.subjects, self.tasks, self.frames = map(np.array, columns)
        people: dict[str, str] = {}
        for row, (name, _, _) in enumerate(index, start=2):
            people.setdefault(name, f"row {row}")
        check_people(file, people, self.meta.get("distinct", []), 'add "distinct": [["A", "B"]] to meta.json')

    @cached_property
    def same_faces(self) -> list[np.ndarray]:
        """Groups of rows whose faces are equal in every byte, though they belong to several people."""
        return same_faces(self.images, self.subjects.tolist())

    def _check_values(self) -> None:
        bad = np.flatnonzero(~(np.abs(self.landmarks) <= FARTHEST * self.size).all((1, 2)))  # NaN too
        if len(bad):
            raise DataError(f"{self.path / 'landmarks.npy'}: row {bad[0]} is not finite, or far outside the face; "
                            "run `lorral prepare` again")
        bad = np.flatnonzero(~np.isin(self.labels, (-1, 0, 1)).all(1))
        if len(bad):
            raise DataError(f"{self.path / 'labels.npy'}: row {bad[0]} has a label outside -1, 0, 1")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ where faces, landmarks, labels, people, AUs or size do."""
        sums = self.meta.get("sha256", {})
        if missing := {*ARRAYS, "index.csv"} - sums.keys():
            raise DataError(f"{self.path / 'meta.json'}: lacks the checksum of {min(missing)}; prepare it again")
        told = [self.aus, self.size, sorted((name, sums[name]) for name in (*ARRAYS, "index.csv"))]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def check_checksums(self) -> None:
        """Compare every file with its checksum in meta.json, files that did not change since the last time by their
        size and time; DataError names the first one that differs."""
        for name, expected in self.meta.get("sha256", {}).items():
            file = self.path / name
            if not file.is_file():
                raise DataError(f"{file}: missing; run `lorral prepare` again")
            found = file.stat()  # the time of a change, unlike that of the content, is nothing that a copy sets
            seen = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, expected)
            if VERIFIED.get(file.absolute()) != seen:
                if checksum(file) != expected:
                    raise DataError(f"{file}: its content changed since it was prepared; prepare it again")
                VERIFIED[file.absolute()] = seen


def open_prepared(path, check: bool = False) -> PreparedFolder:
    """Open a prepared folder; a missing, truncated or misshapen file is a DataError. ``check``: checksums too."""
    return PreparedFolder(path, check)


def counter_uniform(seed: int, epoch: int, rows: np.ndarray, count: int) -> np.ndarray:
    """(len(rows), count) numbers in [0, 1), each a hash (SplitMix64) of (seed, epoch, row, column) and nothing else."""
    with np.errstate(over="ignore"):
        state = np.full((1, 1), seed, dtype=np.uint64)
        for key in (np.uint64(epoch), np.asarray(rows, np.uint64)[:, None], np.arange(count, dtype=np.uint64)):
            z = (state ^ key) + np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = z ^ (z >> np.uint64(31))
    return (state >> np.uint64(11)) * 2.0**-53


class FaceDataset(Dataset):
    """Views of some rows of a prepared folder as the paper's predecessors take them (D3).

    ``train``: a random crop of ``crop`` pixels and a mirror half of the time, both drawn from (seed, epoch, row) and
    nothing else, so the number of workers and the order do not matter; else the centre crop. ``jitter`` from 0 to 1
    (D70) also varies light and colours of training views, see :func:`photometric`; the paper does not mention it.

    An item is a dict: image (3, crop, crop) float32 as (x − 0.5) / 0.5, landmarks (49, 2) float32 in its pixels,
    labels (A,) int8 and row. ``dataset[[i, j, …]]`` gives the same with a leading batch axis.
    """

    def __init__(self, folder: PreparedFolder, rows, crop: int, train: bool, seed: int = 0, jitter: float = 0.0):
        if not 0 < crop <= folder.size:
            raise ValueError(f"crop must be between 1 and the folder's size {folder.size}, got {crop}")
        self.folder, self.rows, self.crop = folder, np.asarray(rows), crop
        self.train, self.seed, self.jitter, self.epoch = train, seed, jitter, 0

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose which random views the next items are."""
        self.epoch = epoch

    def __getitem__(self, item):
        if isinstance(item, (int, np.integer)):
            return {key: value[0] for key, value in self[[int(item)]].items()}
        rows = self.rows[np.asarray(item)]
        margin = self.folder.size - self.crop
        if self.train:
            u = counter_uniform(self.seed, self.epoch, rows, 3 + PHOTOMETRIC_DRAWS)
            offsets = np.floor(u[:, :2] * (margin + 1)).astype(int)
            flip = u[:, 2] < 0.5
        else:
            offsets, flip = np.full((len(rows), 2), margin // 2), np.zeros(len(rows), bool)
        images = np.stack([
            self.folder.images[row, y : y + self.crop, x : x + self.crop]
            for row, (x, y) in zip(rows, offsets, strict=True)
        ])
        landmarks = self.folder.landmarks[rows] - offsets[:, None].astype(np.float32)
        images[flip] = images[flip, :, ::-1]
        landmarks[flip] = mirror_landmarks(landmarks[flip], self.crop)
        pixels = as_input(images)
        if self.train and self.jitter:
            pixels = photometric(pixels, torch.from_numpy(u[:, 3:]).float() * 2 - 1, self.jitter)
        return {
            "image": pixels.contiguous(),
            "landmarks": torch.from_numpy(landmarks),
            "labels": torch.from_numpy(np.asarray(self.folder.labels[rows])),
            "row": torch.from_numpy(rows),
        }

    __getitems__ = __getitem__  # a DataLoader asks for a whole batch at once


PHOTOMETRIC_DRAWS = 11


def photometric(images: torch.Tensor, draws: torch.Tensor, strength: float) -> torch.Tensor:
    """Other light, camera and colours for (B, 3, H, W) images in [−1, 1], from (B, 11) draws in [−1, 1] (D70).

    At ``strength`` 1: contrast, brightness and saturation change by up to half, 30 % of the images turn grey, each
    channel shifts by up to 0.25, gamma is e^±0.7, light rises by e^±0.5 across and down, 30 % are blurred (1-2-1).
    """
    contrast, brightness, saturation, _, red, green, blue, gamma, across, down, _ = (
        (draws * strength)[:, :, None, None, None].unbind(1)
    )
    height, width = images.shape[-2:]
    level = images.mean(1, keepdim=True)
    chance = 0.6 * strength - 1  # a draw of [−1, 1] lies below it 30 % of the time at strength 1
    keep = torch.where(draws[:, 3, None, None, None] < chance, 0.0, 1 + saturation / 2)
    images = level + (images - level) * keep
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * (1 + contrast / 2) + middle + brightness / 2
    images = images + torch.cat([red, green, blue], 1) / 4
    x = torch.linspace(-0.5, 0.5, width, device=images.device)
    y = torch.linspace(-0.5, 0.5, height, device=images.device)[:, None]
    shares = ((images + 1) / 2).clamp(1e-3, 1)
    shares = shares ** torch.exp(0.7 * gamma) * torch.exp(across * x + down * y)
    edge = torch.nn.functional.pad(shares, (1, 1, 1, 1), mode="replicate")
    rows = (edge[..., :-2, :] + 2 * edge[..., 1:-1, :] + edge[..., 2:, :]) / 4
    soft = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    shares = torch.where(draws[:, 10, None, None, None] < chance, soft, shares)
    return shares.clamp(0, 1) * 2 - 1


def as_input(images: np.ndarray) -> torch.Tensor:
    """(B, S, S, 3) uint8 faces → (B, 3, S, S) float32 as (x − 0.5) / 0.5, what the model reads."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_batch(batch):
    """The ``collate_fn`` for a DataLoader over FaceDataset, whose items come as batches already."""
    return batch
