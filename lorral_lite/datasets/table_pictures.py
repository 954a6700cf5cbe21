"""Which picture each row of a table is about, and which way up the tool that wrote the table saw it.

What the tools do, with sources, is in data/README.md. Where tool, file names and landmarks leave two answers, it is
asked: another picture's pixels under right labels look as good as right ones.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import DataError
from ..pictures import STORED, TURNS, UPRIGHT, Look, PictureError, look_at
from .source import is_data, series
from .table_rows import KINDS, Row, ToolTable
from .videos import VideoLook, look_at_video

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".wmv", ".mpg", ".mpeg")
OPENFACE_READS = (".jpg", ".jpeg", ".png", ".bmp")
"""In a folder, and only in small letters."""

UPRIGHT_WITHIN = np.cos(np.radians(30))
"""A face counts as upright when the line from its mouth to its eyes is within 30° of straight up."""


class Place(NamedTuple):
    """A picture, or a video and the position of the frame in it, counted from 0."""

    path: Path
    position: int | None = None


class TablePictures:
    """``places``: for the line of each row its Place, or why there is none. ``seen``: "upright" or "stored" where
    pictures are stored turned, else None. ``notes``: what the reader should know of how they were found.

    images, several: as in :func:`lorral_lite.datasets.table.prepare_table`. orientation and order answer what
    cannot be told. DataError: what cannot be told, and what belongs to no row of the table.
    """

    def __init__(self, table: ToolTable, images=None, several: bool = False, orientation: str | None = None,
                 order: str | None = None):
        self.table, self.tool, self.notes = table, KINDS[table.kind], []
        self.frames = table.last + 1 - self.tool.first
        self._looks: dict[Path, Look | PictureError] = {}
        self._named_before: dict[Path, str] = {}
        self.source = Path(images) if images is not None else None
        if self.source is not None and not self.source.exists():
            raise DataError(f"{self.source}: no such file or folder; name the pictures of {table.path} with --images")
        self.details = self._details()
        self.beside = self._beside(several)
        self.places = {row.line: self._place(row) for row in table.rows}
        self._check_videos()
        self._drop_doubles()
        if self.beside and self.beside.is_dir():
            self._take_from_folder(order)
        self._check_sizes()
        self.seen = self._how_seen(orientation)

    # ------------------------------------------------------------------------------------------- which picture it is

    def _beside(self, several: bool) -> Path | None:
        """The video or the folder of pictures of the whole table; None when its rows name their pictures."""
        path, stem = self.table.path, self.table.path.stem
        found = self._still(stem) if self.table.still else self._called(stem, several)
        if len(found) > 1:
            raise DataError(f"{path}: {' and '.join(one.name for one in found)} could both be its pictures; name one "
                            "with --images")
        if not found and any(row.image is None for row in self.table.rows):
            where = f"in {self.source}" if self.source else "beside it"
            raise DataError(f"{path}: no video, no folder of pictures and no picture called {stem} {where}; name it "
                            "with --images")
        drawn = {self.details.get("Output video"), self.details.get("Output image")}
        if found and found[0].name in drawn and found[0].absolute().parent == path.absolute().parent:
            raise DataError(f"{found[0]}: OpenFace has drawn its landmarks into it; name the recording with --images")
        return found[0] if found else None

    def _still(self, stem: str) -> list[Path]:
        """The picture that a table called ``stem`` is about: what --images names, or what has its name."""
        place = self.source or self.table.path.parent
        return [one for one in _pictures_in(place) if one.stem == stem] if place.is_dir() else [place]

    def _details(self) -> dict[str, str]:
        """What OpenFace says, in a file beside its table, of what it read and wrote."""
        path = self.table.path.with_name(f"{self.table.path.stem}_of_details.txt")
        if self.table.kind != "openface" or not path.is_file():
            return {}
        lines = path.read_text(encoding="utf8", errors="replace").splitlines()
        return {name: said.strip() for name, _, said in (line.partition(":") for line in lines)}

    @property
    def _openface_size(self) -> tuple[int, int] | None:
        """Width and height of what OpenFace saw: unless told otherwise it puts the optical centre in the middle."""
        try:
            fx, fy, cx, cy = map(float, self.details.get("Camera parameters", "").split(","))
        except ValueError:
            return None
        usual = 250 * (2 * cx / 640 + 2 * cy / 480)
        return (round(2 * cx), round(2 * cy)) if max(abs(fx - usual), abs(fy - usual)) < 1e-3 * usual else None

    def _called(self, stem: str, several: bool) -> list[Path]:
        """What --images names, else what has the table's name, in any case of the ending."""
        folder = self.source or self.table.path.parent
        if self.source and not several:
            pictures = _pictures_in(folder) if folder.is_dir() else [folder]
            if len(pictures) == 1 or (pictures and self.frames > 1):
                return [folder]
        if not folder.is_dir():
            raise DataError(f"{folder}: several tables need a folder where each has its pictures")
        found = [folder / stem] if (folder / stem).is_dir() else []
        endings = VIDEOS + PICTURES * (self.frames == 1)
        return found + [folder / name for name in sorted(os.listdir(folder))
                        if is_data(name) and Path(name).stem == stem and Path(name).suffix.lower() in endings]

    def _place(self, row: Row) -> Place | str:
        image, first = row.image, self.tool.first
        named = self._named(image) if image else None
        if named and named.suffix.lower() not in VIDEOS:
            return Place(named)
        by_name = self.table.kind == "own" or (
            self.table.kind == "py-feat" and image and Path(image).suffix.lower() in PICTURES)
        if not named and (by_name or not self.beside):
            outside = image and (Path(image).is_absolute() or ".." in Path(image).parts)
            return f"no such picture: {image}" + "; name its folder with --images" * bool(outside)
        video = self.beside or named  # the video that --images names stands before the one that the table names
        if row.frame < first:
            return f"frame {row.frame}, but this tool counts from {first}"
        if video.suffix.lower() in PICTURES and video.is_file():
            return Place(video) if row.frame == first else f"frame {row.frame}, but {video.name} is one picture"
        return Place(video, row.frame - first)

    def _named(self, image: str) -> Path | None:
        """The file that a row names: below the table's folder or that of --images, nowhere else; their own part of the
        name counts when it was written elsewhere."""
        name = image.replace("\\", "/")
        homes = [home for home in (self.source, self.table.path.parent) if home and home.is_dir()]
        for home in homes:
            home = Path(os.path.normpath(home.absolute()))
            path = Path(os.path.normpath(home / name))
            if path.is_relative_to(home) and path.is_file():
                return path
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        paths = [homes[0].joinpath(*parts[k:]) for k in range(len(parts))]
        path = next((path for path in paths if path.is_file()), None)
        if path and self._named_before.setdefault(path, name) != name:
            other = self._named_before[path]
            raise DataError(f"{self.table.path}: {other} and {name} could both be {path}; give --images the folder of "
                            "both")
        return path

    def _take_from_folder(self, order: str | None) -> None:
        """Frames of ``beside``, a folder, become its pictures."""
        rows = [row for row in self.table.rows if self._at(row) == self.beside]
        wanted = [self.places[row.line].position for row in rows]
        pictures = self._in_order(self.beside, wanted, order) if rows else {}
        for row in rows:
            picture = pictures.get(self.places[row.line].position)
            missing = f"no picture of frame {row.frame} in {self.beside.name}"
            self.places[row.line] = Place(picture) if picture else missing

    def _at(self, row: Row) -> Path | None:
        place = self.places[row.line]
        return place.path if isinstance(place, Place) else None

    def _in_order(self, folder: Path, wanted: list[int], order: str | None) -> dict[int, Path]:
        """Position from 0 → picture: by the number in each name, or by the order of the names (D54)."""
        if order == "numbers" or (order is None and self.table.kind != "openface"):
            return self._by_number(folder)
        everything = _pictures_in(folder)
        readable = [path for path in everything if path.suffix in OPENFACE_READS]
        lists = (readable, everything)
        names = dict(enumerate(next((one for one in lists if len(one) == self.frames), readable or everything)))
        if order == "names" or self.table.rate == 0:  # no frame has a time: OpenFace read a folder
            if self.frames > len(names) or (order is None and self.frames < len(names)):
                raise DataError(f"{folder}: {len(names)} pictures, but the table has {self.frames} frames: by the "
                                "order of names it cannot be told which is which; put there those that the tool read")
            if order is None:
                self.notes.append(f"{folder}: frames are the pictures in the order of their names, as OpenFace reads a "
                                  "folder")
            return names
        try:
            numbers = self._by_number(folder)
        except DataError as error:
            raise DataError(f"{error}; or say --order names if OpenFace read this folder") from None
        for position in wanted:
            if names.get(position) != numbers.get(position):
                one, other = (found[position].name if position in found else "none" for found in (names, numbers))
                raise DataError(f"{folder}: which picture is frame {position + self.tool.first}? {one} if OpenFace "
                                f"read this folder (say --order names), {other} if they are frames of a video (say "
                                "--order numbers)")
        return numbers

    def _by_number(self, folder: Path) -> dict[int, Path]:
        found, *others = series(folder, PICTURES) or [{}]
        if not found:
            raise DataError(f"{folder}: no pictures with a number in their names")
        if others:
            one, other = (next(iter(paths.values()))[0].name for paths in (found, others[0]))
            raise DataError(f"{folder}: {one} and {other} are not of one series of numbers; keep one series")
        for first, *others in found.values():
            if others:
                raise DataError(f"{others[0]}: the same number as {first.name}; keep one")
        low, high = min(found), max(found)
        if low == 0:
            first = 0
        elif high - low + 1 == self.frames:
            first = low
        elif high == self.frames or (low == 1 and high > self.frames):
            first = 1
        else:
            raise DataError(f"{folder}: the table has {self.frames} frames, the pictures are numbered {low} to {high}: "
                            "which is the first frame cannot be told; put back the first or the last one")
        return {number - first: paths[0] for number, paths in found.items()}

    # ---------------------------------------------------------------------------------------- is it the tool's picture

    def _check_videos(self) -> None:
        """The videos of the table must be those that the tool saw, as far as frames and rate tell."""
        table, self._videos = self.table, {}
        for row in table.rows:
            path = self._at(row)
            if path is None or self.places[row.line].position is None or path.is_dir() or path in self._videos:
                continue
            video = self._videos[path] = look_at_video(path)
            self._looks[path] = video.look
            self._check_count(path, video)

    def _drop_doubles(self) -> None:
        """A frame of a video is one frame, by whatever names the rows call the video."""
        before: dict[tuple, int] = {}
        for row in self.table.rows:
            place = self.places[row.line]
            if isinstance(place, Place) and place.path in self._videos:
                line = before.setdefault((row.subject, row.task, place), row.line)
                if line != row.line:
                    self.places[row.line] = f"the same frame of {place.path.name} as row {line}, which was kept"

    def _check_count(self, path: Path, video: VideoLook) -> None:
        kind, name, rate = self.table.kind, self.table.path.name, self.table.rate
        has = f"{path}: has {video.frames} frames, but {name} has {self.frames}"
        if self.frames > video.frames:
            raise DataError(f"{has}: it is not the video that the tool saw, or not all of it")
        if self.frames == video.frames or kind == "own":
            return
        if kind == "libreface":
            raise DataError(f"{has}: LibreFace repeats and drops frames where their rate varies; make the video one of "
                            "a constant rate and let LibreFace see that")
        if rate and video.rates and min(abs(one / rate - 1) for one in video.rates) > 0.02:
            raise DataError(f"{has}, and {video.rates[0]:.4g} frames a second, not {rate:.4g}: it is not the video "
                            "that the tool saw")
        self.notes.append(f"{has}; the others are left out")

    def look(self, path: Path) -> Look | PictureError:
        """What a picture says of itself, or what is wrong with it."""
        if path not in self._looks:
            try:
                self._looks[path] = look_at(path)
            except PictureError as error:
                self._looks[path] = error
        return self._looks[path]

    def _check_sizes(self) -> None:
        """Rows whose table knows another size of the picture, or needs one that cannot be read, lose their place."""
        for row in self.table.rows:
            path = self._at(row)
            look, size = self.look(path) if path else None, self._size(row)
            if isinstance(look, Look) and size not in (None, look.size(UPRIGHT), look.size(STORED)):
                sizes = "{} × {} pixels, but the tool saw {} × {}".format(*look[:2], *size)
                self.places[row.line] = f"{path.name} has {sizes}"
            if isinstance(look, PictureError) and self.table.relative:
                self.places[row.line] = f"{path.name}: not readable as a picture ({look})"

    # ------------------------------------------------------------------------------------------- which way up it was

    def _how_seen(self, asked: str | None) -> str | None:
        """How the tool saw pictures that are stored turned: as asked, else as tool and landmarks agree."""
        turned = [(row, path, look) for row in self.table.rows
                  if (path := self._at(row)) and isinstance(look := self.look(path), Look) and look.orientation != 1]
        if asked or not turned:
            return asked
        path, look = turned[0][1:]
        video = path in self._videos
        usual = self.tool.sees_videos if video else self.tool.sees_pictures
        fitting = [{seen for seen in (UPRIGHT, STORED) if self._fits(row, look, seen)} for row, _, look in turned]
        possible = set.intersection(*filter(None, fitting)) if any(fitting) else set()
        if usual:
            possible &= {usual}
        if video and sum(TURNS[look.orientation]) % 2:  # OpenCV turns, but does not mirror
            possible = set()
        if len(possible) != 1:
            raise DataError(f"{path}: is stored turned (as EXIF orientation {look.orientation}), and it cannot be told "
                            "how the tool saw it; say --orientation upright (as it is shown) or stored")
        (seen,) = possible
        self.notes.append(f"{path}: is stored turned; read {seen}, as its landmarks say (else: --orientation)")
        return seen

    def _fits(self, row: Row, look: Look, seen: str) -> bool:
        """Would the landmarks, seen so, lie in the picture, and would the face be upright as the picture is shown?"""
        size = np.array(look.size(seen))
        points = self.scaled(row.points, look, seen)
        inside = ((points >= -0.5) & (points < size - 0.5)).all(1).mean() >= 0.5
        up = points[19:31].mean(0) - points[31:43].mean(0)
        if seen == STORED:
            swap, flip_x, flip_y = TURNS[look.orientation]
            up = (up[::-1] if swap else up) * (1 - 2 * flip_x, 1 - 2 * flip_y)
        level = -up[1] >= UPRIGHT_WITHIN * np.hypot(*up)
        return bool(inside and level and self._size(row) in (None, look.size(seen)))

    def _size(self, row: Row) -> tuple[int, int] | None:
        return row.frame_size or self._openface_size

    def scaled(self, points: np.ndarray, look: Look, seen: str | None) -> np.ndarray:
        """Landmarks in pixels of the picture as it was seen."""
        return points * np.array(look.size(seen)) - 0.5 if self.table.relative else points


def _pictures_in(folder: Path) -> list[Path]:
    """In the order of their names, as a program sorts them."""
    return [folder / name for name in sorted(os.listdir(folder))
            if is_data(name) and os.path.splitext(name)[1].lower() in PICTURES]
