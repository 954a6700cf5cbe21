"""Pictures from outside: the formats that are named, deep grey scaled to 8 bits, one reason for what is wrong."""

import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from lorral_lite.datasets.table_rows import read_table
from lorral_lite.datasets.videos import _opened
from lorral_lite.files import DataError
from lorral_lite.photo import load_photo
from lorral_lite.pictures import STORED, TURNS, UPRIGHT, PictureError, _formats, look_at, read_picture

FACE = np.arange(48 * 40 * 3, dtype=np.uint8).reshape(48, 40, 3)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 160 160\n%%EndComments\n{ 1 pop } loop\nshowpage\n"


@pytest.mark.parametrize("name", _formats())
def test_every_format_that_is_named_is_read_under_any_name(tmp_path, name):
    Image.fromarray(FACE).save(tmp_path / "photo.xyz", name)
    picture, shrunk = read_picture(tmp_path / "photo.xyz")
    assert (picture.shape, picture.dtype, shrunk) == ((48, 40, 3), np.uint8, 1)
    assert look_at(tmp_path / "photo.xyz") == (40, 48, 1)


def test_a_program_under_the_name_of_a_photograph_is_not_run(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(EPS)
    with pytest.raises(PictureError, match=r"^unknown format$"):
        read_picture(tmp_path / "photo.jpg")
    with pytest.raises(PictureError):
        look_at(tmp_path / "photo.jpg")


@pytest.mark.parametrize(("values", "expected"), [
    (np.array([[0, 255, 256, 65535]], np.uint16), [0, 0, 1, 255]),
    (np.array([[0, 512, 65535, 7]], np.int32), [0, 2, 255, 0]),
    (np.array([[0, 100, 255, 7]], np.int32), [0, 100, 255, 7]),
    (np.array([[0.0, 0.5, 1.0, np.nan]], np.float32), [0, 128, 255, 0]),
    (np.array([[0.0, 100.0, 255.0, -5.0]], np.float32), [0, 100, 255, 0]),
])
def test_deep_grey_is_scaled_and_not_clipped(tmp_path, values, expected):
    Image.fromarray(values).save(tmp_path / "deep.tiff")
    assert read_picture(tmp_path / "deep.tiff")[0][0, :, 1].tolist() == expected


def test_orientation_is_undone_when_asked_for(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to see it upright
    Image.fromarray(FACE).save(tmp_path / "phone.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "phone.png", STORED)[0], FACE)
    np.testing.assert_array_equal(read_picture(tmp_path / "phone.png", UPRIGHT)[0], np.rot90(FACE, -1))


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "^empty file$"), (b"no picture", "^unknown format$"), (None, "^no such picture$"),
])
def test_what_is_wrong_is_said_in_a_few_words(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(PictureError, match=reason):
        read_picture(tmp_path / "x.jpg")
    with pytest.raises(PictureError, match="is a folder"):
        read_picture(tmp_path)


@pytest.mark.parametrize("orientation", TURNS)
def test_orientations_are_those_of_pillow(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(FACE).save(tmp_path / "phone.webp", exif=exif, lossless=True)
    look = look_at(tmp_path / "phone.webp")
    assert look == (40, 48, orientation)
    with Image.open(tmp_path / "phone.webp") as picture:
        wanted = np.asarray(ImageOps.exif_transpose(picture))
    seen = read_picture(tmp_path / "phone.webp", UPRIGHT)[0]
    np.testing.assert_array_equal(seen, wanted)
    assert look.size(UPRIGHT) == seen.shape[1::-1]
    if orientation != 1:
        with pytest.raises(PictureError, match=f"is stored turned .EXIF orientation {orientation}"):
            read_picture(tmp_path / "phone.webp")


def test_a_tiff_is_turned_by_its_decoder_and_an_unknown_orientation_is_none(tmp_path):
    Image.fromarray(FACE).save(tmp_path / "a.tiff", tiffinfo={0x0112: 6})
    assert look_at(tmp_path / "a.tiff") == (48, 40, 1)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tiff")[0], np.rot90(FACE, -1))
    exif = Image.Exif()
    exif[0x0112] = 11
    Image.fromarray(FACE).save(tmp_path / "a.png", exif=exif)
    assert look_at(tmp_path / "a.png").orientation == 1


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_a_file_of_several_pictures_is_not_one(tmp_path, name):
    pictures = [Image.fromarray(FACE), Image.fromarray(255 - FACE)]
    pictures[0].save(tmp_path / "x", name, save_all=True, append_images=pictures[1:])
    with pytest.raises(PictureError, match="holds several pictures, not one"):
        read_picture(tmp_path / "x")
    pictures[0].save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=pictures[1:], quality=98)
    assert np.abs(read_picture(tmp_path / "phone.jpg")[0].astype(int) - FACE).mean() < 9  # a preview beside it


@pytest.mark.parametrize("values", [np.array([[0, 70000]], np.int32), np.array([[0.0, 1.02]], np.float32)])
def test_grey_levels_of_no_known_range_are_refused(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "x.tiff")
    with pytest.raises(PictureError, match="its grey levels end at"):
        read_picture(tmp_path / "x.tiff")


def test_whatever_a_decoder_raises_is_a_reason(tmp_path, monkeypatch):
    Image.fromarray(FACE).save(tmp_path / "x.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: (_ for _ in ()).throw(RuntimeError("decoder\nfailed")))
    with pytest.raises(PictureError, match=r"^decoder failed$"):
        read_picture(tmp_path / "x.png")


def test_a_reason_with_the_word_folder_in_it_is_not_taken_for_a_folder(tmp_path, monkeypatch):
    Image.fromarray(FACE).save(tmp_path / "x.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: (_ for _ in ()).throw(OSError("denied: my folder/x.png")))
    with pytest.raises(DataError, match=r"not readable as an image \(denied: my folder/x\.png\)"):
        load_photo(tmp_path / "x.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    for read in (read_picture, look_at):
        with pytest.raises(PictureError, match=r"^it is no file$"):
            read(pipe)
    with pytest.raises(DataError, match="pipe: it is no file; give the CSV"):
        read_table(pipe)
    with pytest.raises(DataError, match="pipe: it is no file; name the video"):
        list(_opened(pipe).gen)
