"""Stand-ins: folders laid out exactly as BP4D and DISFA are distributed, with procedural faces inside.

Nobody's face is in them. They exist so that everybody can walk the path of the licensed data, and so that the loaders
are tested on every layout and naming that public code has met. A score on a stand-in is a score on drawings.
"""

import csv
import zlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

from ..faces import render_faces
from ..faces.population import Population

README = """Procedural stand-in
===================
This folder is laid out like {name}, but it is not {name}: every face is drawn by lorral-lite, every label was drawn
at random with the public rates of {name}. It may be shared freely.
"""


DISFA_CODED = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)


DISFA_IMAGES = {
    "0.png": "{subject}/{zero}.png",
    "SN001_0.png": "{subject}/{subject}_{zero}.png",
    "frame_1.jpg": "{side}Video{subject}/frame_{one}.jpg",
    "LeftVideoSN001_comp_0001.png": "{side}Video{subject}_comp/{side}Video{subject}_comp_{one:04d}.png",
}
"""Names that public code gives to the extracted frames; {zero} counts from 0, {one} from 1."""


@dataclass(frozen=True)
class StandIn:
    """What was written, as the truth for tests: one row per coded frame, in the order of the files.

    index: (subject, task, number of the frame as the label file counts it). labels: (N, A) int8, −1 where the file
    says unknown. landmarks: (N, 49, 2) float32, 0-based pixels of the source picture. tracked: (N,) bool, False where
    the landmark file has no points.
    """

    root: Path
    aus: tuple[int, ...]
    index: list[tuple[str, str, int]]
    labels: np.ndarray
    landmarks: np.ndarray
    tracked: np.ndarray


# --- BP4D -------------------------------------------------------------------------------------------------------


def write_bp4d(root, subjects=("F001", "F003", "F004"), tasks=("T1", "T2"), frames=4, *, width: int = 96,
               images: str = "jpg", first=(2440, 37), around: int = 1, empty: int = 1, unknown: int = 0,
               pool: int | None = None, seed: int = 0) -> StandIn:
    """Write a stand-in of BP4D into ``root``: images, AU occurrence, MATLAB v7.3 landmarks of the 12 AUs.

    subjects, tasks: F001 … and T1 … T8. frames: coded frames of each sequence. width: pixels, 48 or more; the height
        follows the real 1040 × 1392.
    images: "jpg" writes ``Sequences(2D+3D)/F001/T1/2440.jpg``, "avi" ``2F01_T1.avi`` (needs PyAV).
    first: number of the first coded frame, taken in turn by the sequences. around: frames on disk before and after
        the coded ones, which nobody coded.
    empty: coded frames at the end of each subject's last sequence whose landmarks are empty.
    unknown: label cells of the 12 AUs that say 9, in each sequence's first row. The other AUs always say 9.
    pool: draw only so many faces and repeat them, in another light for each subject: large folders in seconds, whose
        pictures do not show what the labels say.
    """
    root, tasks = Path(root), tuple(tasks)
    people = Population("bp4d", seed=seed)
    few = pool and _taller(*_faces(people.subjects(1, pool, first=10_000), people, width, "pool", seed))
    _readme(root, "BP4D")
    index, labels, landmarks, tracked = [], [], [], []
    for s, subject in enumerate(subjects):
        draw = people.subjects(1, frames * len(tasks), first=s)
        drawn, marks = few or _taller(*_faces(draw, people, width, subject, seed))
        for t, task in enumerate(tasks):
            rows = range(t * frames, (t + 1) * frames)
            pictures, points = ([part[k % len(part)] for k in rows] for part in (drawn, marks))
            if few:
                pictures = [np.clip(picture.astype(int) + s, 0, 255).astype(np.uint8) for picture in pictures]
            start = first[(s * len(tasks) + t) % len(first)]
            numbers = range(start, start + frames)
            shown = draw.labels[0, rows]
            shown[0, :unknown] = -1
            known = np.ones(frames, bool)
            known[frames - empty * (t == len(tasks) - 1) :] = False
            coding = root / "AUCoding"
            write_bp4d_labels(coding / "AU_OCC" / f"{subject}_{task}.csv", numbers, shown, people.aus)
            write_csv(coding / "AU_INT" / "AU06" / f"{subject}_{task}_AU06.csv", [(n, 0) for n in numbers])  # a decoy
            found = [face if there else None for face, there in zip(points, known, strict=True)]
            everywhere = [points[0]] * (start - 1) + found + [points[-1]] * around
            write_v73_landmarks(root / "2DFeatures" / f"{subject}_{task}.mat", everywhere)
            seen = range(max(1, start - around), start + frames + around)
            shots = [pictures[min(max(n - start, 0), frames - 1)] for n in seen]
            if images == "jpg":
                digits = 3 if seen[-1] < 1000 else 4
                folder = root / "Sequences(2D+3D)" / subject / task
                for n, shot in zip(seen, shots, strict=True):
                    write_image(folder / f"{n:0{digits}d}.jpg", shot)
                (folder / f"{seen[0]:0{digits}d}.obj").write_text("# stand-in of a 3D model\n", encoding="utf8")
            else:
                write_video(root / f"2{subject[0]}{subject[2:]}_{task}.avi", [shots[0]] * (seen[0] - 1) + shots, 25)
            index += [(subject, task, n) for n in numbers]
            labels.append(shown)
            landmarks.append(points)
            tracked.append(known)
    return StandIn(root, people.aus, index, np.concatenate(labels), np.concatenate(landmarks), np.concatenate(tracked))


def write_bp4d_labels(path, numbers, labels, aus) -> None:
    """One label file: header 0 … 99, column 0 the frame number, column k AU k, 99 occlusion; −1 is written as 9."""
    table = np.full((len(numbers), 100), 9)
    table[:, 0], table[:, 99] = numbers, 0
    table[:, list(aus)] = np.where(np.asarray(labels) < 0, 9, labels)
    write_csv(path, [range(100), *table.tolist()])


def write_v73_landmarks(path, points) -> None:
    """MATLAB v7.3 (HDF5): ``fit/pred`` holds one object reference per frame, to 2 × 49 coordinates counted from 1.

    points: per frame (49, 2) pixels counted from 0, or None for MATLAB's empty array. The same object is stored once.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        objects, fit, stored = file.create_group("#refs#"), file.create_group("fit"), {}
        fit.attrs["MATLAB_class"] = np.bytes_("struct")
        pred = fit.create_dataset("pred", (len(points), 1), dtype=h5py.ref_dtype)
        references = np.empty((len(points), 1), dtype=object)
        for k, face in enumerate(points):
            if id(face) not in stored:
                data = np.zeros(2, np.uint64) if face is None else np.asarray(face, np.float64).T + 1
                item = objects.create_dataset(f"p{len(stored)}", data=data)
                item.attrs["MATLAB_class"] = np.bytes_("double")
                if face is None:
                    item.attrs["MATLAB_empty"] = np.uint8(1)
                stored[id(face)] = item.ref
            references[k, 0] = stored[id(face)]
        pred[...] = references
    header = b"MATLAB 7.3 MAT-file, procedural stand-in".ljust(116) + bytes(8) + b"\x00\x02IM"
    with open(path, "r+b") as file:
        file.write(header)


# --- DISFA ------------------------------------------------------------------------------------------------------


def write_disfa(root, subjects=("SN001", "SN003", "SN006"), frames: int = 6, *, width: int = 128,
                images: str = "avi", cameras=("left",), seed: int = 0) -> StandIn:
    """Write a stand-in of DISFA into ``root``: videos or images, intensities of 12 AUs, MATLAB v5 landmarks.

    subjects: SN001 …; frames: of each. width: pixels, 64 or more; the height follows the real 1024 × 768.
    images: "avi" writes ``Videos_LeftCamera/LeftVideoSN001_comp.avi`` (needs PyAV), else a name of
        :data:`DISFA_IMAGES`, written below the same camera folder.
    cameras: "left", "right" or both. The right one sees the same faces in mirror image; landmarks are those of the
        left.
    """
    root = Path(root)
    people = Population("disfa", seed=seed)
    _readme(root, "DISFA")
    index, labels, landmarks = [], [], []
    for s, subject in enumerate(subjects):
        draw = people.subjects(1, frames, first=s)
        pictures, points = _wider(*_faces(draw, people, round(width * 3 / 4), subject, seed))
        for camera in cameras:
            side = camera.capitalize()
            folder = root / ("Videos_LeftCamera" if camera == "left" else "Video_RightCamera")
            shots = [picture[:, :: -1 if camera == "right" else 1] for picture in pictures]
            if images == "avi":
                write_video(folder / f"{side}Video{subject}_comp.avi", shots, 20)
                continue
            for k, shot in enumerate(shots):
                name = DISFA_IMAGES[images].format(subject=subject, side=side, zero=k, one=k + 1)
                write_image(folder / name, shot)
        levels = np.floor(draw.intensity[0] * 5 + 1e-4).astype(int)
        for au in DISFA_CODED:
            level = levels[:, people.aus.index(au)] if au in people.aus else np.zeros(frames, int)
            write_csv(root / "ActionUnit_Labels" / subject / f"{subject}_au{au}.txt", [*enumerate(level.tolist(), 1)])
        place = root / "Landmark_Points" / subject / "tmp_frame_lm"
        place.mkdir(parents=True, exist_ok=True)
        for k, face in enumerate(points):
            savemat(place / f"{subject}_{k:04d}_lm.mat", {"pts": with_jaw(face) + 1.0})
        index += [(subject, "video", k + 1) for k in range(frames)]
        labels.append(draw.labels[0])
        landmarks.append(points)
    every = np.concatenate(landmarks)
    return StandIn(root, people.aus, index, np.concatenate(labels), every, np.ones(len(every), bool))


def with_jaw(points: np.ndarray) -> np.ndarray:
    """(49, 2) → (66, 2): 17 jaw points on half an ellipse below the face stand before the 49."""
    points = np.asarray(points, np.float64)
    low, high = points.min(0), points.max(0)
    angle = np.linspace(np.pi, 0, 17)
    reach = (high - low) * [0.65, 0.75]
    middle = np.array([(low[0] + high[0]) / 2, low[1] + 0.35 * (high - low)[1]])
    return np.concatenate([middle + reach * np.stack([np.cos(angle), np.sin(angle)], 1), points])


# --- pieces -----------------------------------------------------------------------------------------------------


def write_csv(path, rows) -> None:
    """Write rows with commas, making the folder where needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_image(path, picture: np.ndarray) -> None:
    """Write (H, W, 3) uint8 as the format that the name ends in."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(picture)).save(path, quality=95)


def write_video(path, pictures, rate: int) -> None:
    """Write pictures (H, W, 3) uint8 as a motion-JPEG AVI; needs PyAV (``pip install av``)."""
    import av

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=rate, width=width, height=height, pix_fmt="yuvj420p")
        stream.options = {"qmin": "1", "qmax": "2"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


def _readme(root: Path, name: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "README.txt").write_text(README.format(name=name), encoding="utf8")


def _faces(draw, people: Population, size: int, name: str, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures (size, size, 3) uint8 of one person's frames, and their landmarks (N, 49, 2), 0-based."""
    person = zlib.crc32(f"{name} {seed}".encode())
    strengths = people.to_render(draw)[0]
    scenes = person + 1 + np.arange(len(strengths))
    wall = {"background": "plain", "background_hue": person % 97 / 97, "background_light": 0.6, "zoom": 0.88,
            "noise": 0.05}
    drawn = render_faces(strengths, size, seed=person, scene=scenes, **wall)
    return list(drawn.pictures), drawn.landmarks.numpy().astype(np.float32)


def _margins(side: int, ratio: float) -> tuple[int, int]:
    """Pixels to add on both sides of a square picture, so that its longer side is ``ratio`` times the other, even."""
    more = 2 * round(side * ratio / 2) - side
    return more // 2, more - more // 2


def _taller(pictures: list[np.ndarray], points: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """BP4D's portrait format: more wall above, more of the same below; the landmarks move along."""
    side = len(pictures[0])
    margins = _margins(side, 1392 / 1040)
    tall = []
    for picture in pictures:
        tall.append(np.pad(picture, (margins, (0, 0), (0, 0)), mode="edge"))
        edge = max(1, side // 16)
        ends = picture[0, :edge].mean(0), picture[0, -edge:].mean(0)
        tall[-1][: margins[0]] = np.linspace(*ends, side).round()
    return tall, points + np.array([0, margins[0]], np.float32)


def _wider(pictures: list[np.ndarray], points: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """DISFA's landscape format: more of the same left and right; the landmarks move along."""
    margins = _margins(len(pictures[0]), 4 / 3)
    wide = [np.pad(picture, ((0, 0), margins, (0, 0)), mode="edge") for picture in pictures]
    return wide, points + np.array([margins[0], 0], np.float32)
