"""Prepared folders: what is written is read back, what is broken is refused with file and remedy, views are fixed."""

import csv
import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lorral_lite.datasets.prepared import FaceDataset, as_batch, counter_uniform, open_prepared
from lorral_lite.datasets.preparing import Sequence, prepare_sequences
from lorral_lite.datasets.writing import PreparedWriter
from lorral_lite.files import DataError, only_one, write_text, write_whole
from lorral_lite.landmarks import MIRROR

AUS = (1, 4, 12)


def write(path, rows=12, size=20, aus=AUS, source="test"):
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (rows, size, size, 3), dtype=np.uint8)
    landmarks = rng.uniform(0, size, (rows, 49, 2)).astype(np.float32)
    labels = rng.integers(-1, 2, (rows, len(aus))).astype(np.int8)
    index = [(f"S{i % 4}", "T1", i) for i in range(rows)]
    with PreparedWriter(path, size, aus, {"source": source}) as writer:
        writer.append(index[:5], frames[:5], landmarks[:5], labels[:5])
        writer.append(index[5:], frames[5:], landmarks[5:], labels[5:])
    return frames, landmarks, labels


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "p")
    return tmp_path / "p"


def test_round_trip(tmp_path):
    frames, landmarks, labels = write(tmp_path / "p")
    p = open_prepared(tmp_path / "p", check=True)
    np.testing.assert_array_equal(p.images, frames)
    np.testing.assert_array_equal(p.landmarks, landmarks)
    np.testing.assert_array_equal(p.labels, labels)
    assert (p.aus, p.size, len(p)) == (AUS, 20, 12)
    assert p.subjects.tolist() == [f"S{i % 4}" for i in range(12)]
    assert p.frames.tolist() == list(range(12))
    assert p.meta["positives"] == (labels == 1).sum(0).tolist()
    assert p.meta["unknown"] == (labels == -1).sum(0).tolist()
    assert isinstance(p.images, np.memmap)


def test_a_name_is_no_formula_for_a_spreadsheet_and_reads_back_as_it_was(tmp_path):
    names = ["=1+a", "+b", "-c", "@d", "'=e", "''-f", "＝g", "'h", "i=j", "plain", "k;=l", "m;'=n;-o"]
    with PreparedWriter(tmp_path / "p", 20, AUS, {"source": "test"}) as writer:
        writer.append([(name, name, 1) for name in names], np.zeros((12, 20, 20, 3)), np.ones((12, 49, 2)),
                      np.zeros((12, 3)))
        writer.skip([("=cmd|x.png", 3, "-why"), ("\tx.png", "", "")])
    p = open_prepared(tmp_path / "p")
    assert p.subjects.tolist() == p.tasks.tolist() == names
    for table in ("index.csv", "skipped.csv"):
        with open(tmp_path / "p" / table, newline="", encoding="utf8") as file:
            assert not [cell for row in csv.reader(file) for cell in row if re.search(r"(^|;)[=+\-@\t＝]", cell)]


@pytest.mark.parametrize("name", ["a\nb", "\u202eabc", "a\x00", "a\u200bb", "\x1b[2J"])
def test_a_name_with_characters_that_are_not_seen_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"the name \S+ holds a character that is not seen"):
        prepare_sequences(tmp_path / "p", tmp_path, [Sequence(name, "T1", 1, lambda: None)], 20, AUS, {})
    assert list(tmp_path.iterdir()) == []
    with PreparedWriter(tmp_path / "p", 20, AUS, {"source": "test"}) as writer:
        writer.append([("S1", name, 1)], np.zeros((1, 20, 20, 3)), np.ones((1, 49, 2)), np.zeros((1, 3)))
    with pytest.raises(DataError, match=r"index.csv: the name \S+ holds a character that is not seen"):
        open_prepared(tmp_path / "p")


def test_nothing_is_left_when_writing_fails(tmp_path):
    with (
        pytest.raises(RuntimeError),
        PreparedWriter(tmp_path / "p", 20, AUS, {"source": "test"}),
    ):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_one_process_prepares_a_folder_and_the_next_is_told(tmp_path):
    with PreparedWriter(tmp_path / "p", 20, AUS, {"source": "test"}, resume=1) as writer:
        with pytest.raises(DataError, match="p: another process is preparing it; let that end"):
            PreparedWriter(tmp_path / "p", 20, AUS, {"source": "test"}).__enter__()
        writer.append([("S1", "T1", 1)], np.zeros((1, 20, 20, 3)), np.zeros((1, 49, 2)), np.zeros((1, 3)))
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_the_current_folder_has_a_lock_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with only_one(Path("."), "training"), pytest.raises(DataError, match="another process is training it"):
        only_one(tmp_path, "training").__enter__()


def test_a_link_and_its_target_have_one_lock(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "link").symlink_to(tmp_path / "target")
    with only_one(tmp_path / "target", "training"), pytest.raises(DataError, match="another process is training it"):
        only_one(tmp_path / "there" / "link", "training").__enter__()


def test_a_disk_without_locks_is_one_line(tmp_path, monkeypatch):
    def acquire(self):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("lorral_lite.files.FileLock.acquire", acquire)
    with pytest.raises(DataError, match=r"cannot be written \(no locks here\); choose another folder"):
        only_one(tmp_path / "run", "training").__enter__()


def test_two_processes_of_the_same_number_share_no_temporary_file(tmp_path):
    """As in two containers with one disk."""
    def write(temporary):
        temporary.write_text("first")
        write_text(tmp_path / "a.txt", "second")

    write_whole(tmp_path / "a.txt", write)
    assert (tmp_path / "a.txt").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_kill_before_the_journal_went_leaves_a_whole_folder(folder):
    before = sorted(folder.iterdir())
    (folder / "journal.json").write_text("{}")
    with pytest.raises(DataError, match="exists already"):
        PreparedWriter(folder, 20, AUS, {"source": "test"}, resume=1)
    assert sorted(folder.iterdir()) == before


def test_a_link_to_nowhere_is_said_before_the_work(tmp_path):
    (tmp_path / "p").symlink_to(tmp_path / "scratch" / "p")
    with pytest.raises(DataError, match="p: a link to a folder that is not there"):
        PreparedWriter(tmp_path / "p", 20, AUS, {"source": "test"})


def test_an_existing_folder_is_not_overwritten(folder):
    before = (folder / "frames.npy").read_bytes()
    with pytest.raises(DataError, match="exists already"):
        write(folder)
    assert (folder / "frames.npy").read_bytes() == before


def drop(name):
    return lambda p: (p / name).unlink()


def truncate(name):
    return lambda p: (p / name).write_bytes((p / name).read_bytes()[:-7])


def wrong_shape(p):
    np.save(p / "landmarks.npy", np.zeros((12, 48, 2), np.float32))


def wrong_dtype(p):
    np.save(p / "labels.npy", np.zeros((12, 3), np.int64))


def not_finite(p):
    a = np.load(p / "landmarks.npy")
    a[7, 3, 1] = np.nan
    np.save(p / "landmarks.npy", a)


def far_away(p):
    a = np.load(p / "landmarks.npy")
    a[7, 3, 1] = 1e30
    np.save(p / "landmarks.npy", a)


def archive(p):
    with open(p / "frames.npy", "wb") as file:
        np.savez(file, np.load(p / "landmarks.npy"))


def header(text):
    """Another header of labels.npy, as long as it is."""
    def change(p):
        content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
        (p / "labels.npy").write_bytes(content + bytes(36))
    return change


def bad_label(p):
    a = np.load(p / "labels.npy")
    a[9, 2] = 9
    np.save(p / "labels.npy", a)


def meta(**changes):
    def change(p):
        values = json.loads((p / "meta.json").read_text())
        (p / "meta.json").write_text(json.dumps({**values, **changes}))
    return change


def index_text(text):
    return lambda p: (p / "index.csv").write_text(text)


@pytest.mark.parametrize(("damage", "message"), [
    (shutil.rmtree, "no such folder; make one with `lorral prepare faces"),
    (drop("frames.npy"), r"frames\.npy: missing; run `lorral prepare`"),
    (truncate("frames.npy"), r"frames\.npy: truncated"),
    (truncate("meta.json"), r"meta\.json: not readable as JSON"),
    (wrong_shape, r"landmarks\.npy: shape \(12, 48, 2\)"),
    (wrong_dtype, r"labels\.npy: shape \(12, 3\) int64"),
    (not_finite, r"landmarks\.npy: row 7 is not finite"),
    (far_away, r"landmarks\.npy: row 7 is not finite, or far outside the face"),
    (archive, r"frames\.npy: truncated or not a \.npy file"),
    (header("{'descr': '|i1', 'fortran_order': False, 'shape': (4611686018427387904, 3)}"), r"labels\.npy: truncated"),
    (header("{'descr': '|O', 'fortran_order': False, 'shape': (12, 3)}"), r"labels\.npy: truncated or not"),
    (header("{'descr': '|b1', 'fortran_order': False, 'shape': (12, 3)}"), r"labels\.npy: shape \(12, 3\) bool"),
    (header("(" * 9000), r"labels\.npy: truncated or not"),
    (bad_label, r"labels\.npy: row 9 has a label outside"),
    (meta(format_version=99), r"meta\.json: format version 99"),
    (meta(licensed="false"), r"meta\.json: licensed is 'false'"),
    (meta(size=20.0), r"meta\.json: size is 20\.0"),
    (meta(aus=[1, 4, "12"]), r"meta\.json: .* cannot be interpreted as an integer"),
    (meta(aus=[1, 4, 99]), r"meta\.json: unknown action unit 99"),
    (meta(sha256=[]), r"meta\.json: sha256 is \[\]"),
    (lambda p: (p / "meta.json").write_text("[" * 100_000), r"meta\.json: not readable as JSON \(nested too deeply\)"),
    (meta(frames=11), r"shape \(12, 20, 20, 3\)"),
    (index_text("subject,task,frame\nS1,T1,1\n"), r"index\.csv: 1 rows"),
    (index_text("subject,task,frame\nS1,T1\n"), r"index\.csv: needs columns"),
    (index_text("subject,task,frame\n" + "S1,T1,1\n" * 99), r"index\.csv: more, but meta\.json says 12"),
    (index_text("subject,task,frame\nS1,T1," + "9" * 30), r"index\.csv: needs columns"),
    (index_text("subject,task,frame\n" + "," * 2**21), r"index\.csv: needs columns .*a line has more than"),
])
def test_damage_is_one_clear_line(folder, damage, message):
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        open_prepared(folder)
    assert "\n" not in str(caught.value)


def test_checksums_notice_one_changed_pixel(folder):
    raw = bytearray((folder / "frames.npy").read_bytes())
    raw[-1] ^= 1
    (folder / "frames.npy").write_bytes(raw)
    open_prepared(folder)
    with pytest.raises(DataError, match=r"frames\.npy: its content changed"):
        open_prepared(folder, check=True)


def test_the_test_view_is_the_centre_crop(folder):
    p = open_prepared(folder)
    item = FaceDataset(p, [3], crop=16, train=False)[0]
    expected = p.images[3, 2:18, 2:18].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(item["image"], (expected - 0.5) / 0.5, atol=1e-6)
    np.testing.assert_allclose(item["landmarks"], p.landmarks[3] - 2, atol=1e-5)
    assert item["labels"].tolist() == p.labels[3].tolist()


def test_every_training_view_is_some_crop_mirrored_or_not(folder):
    p = open_prepared(folder)
    dataset = FaceDataset(p, np.arange(12), crop=16, train=True, seed=1)
    seen = set()
    for epoch in range(8):
        dataset.set_epoch(epoch)
        for row in range(12):
            item = dataset[row]
            found = []
            for x in range(5):
                for y in range(5):
                    crop = p.images[row, y : y + 16, x : x + 16]
                    for flip in (False, True):
                        view = (crop[:, ::-1] if flip else crop).transpose(2, 0, 1) / 127.5 - 1
                        if np.allclose(item["image"], view, atol=1e-6):
                            found.append((x, y, flip))
            assert len(found) == 1
            x, y, flip = found[0]
            points = p.landmarks[row] - (x, y)
            if flip:
                points = np.stack([15 - points[MIRROR, 0], points[MIRROR, 1]], 1)
            np.testing.assert_allclose(item["landmarks"], points, atol=1e-4)
            seen.add(found[0])
    assert len(seen) > 35  # of 50 possible views


def test_views_depend_on_seed_epoch_and_row_alone(folder):
    p = open_prepared(folder)

    def epoch(number, seed=0, order=range(12), workers=0):
        d = FaceDataset(p, np.arange(12), crop=16, train=True, seed=seed, jitter=0.3)
        d.set_epoch(number)
        loader = DataLoader(d, 4, sampler=list(order), collate_fn=as_batch, num_workers=workers)
        batches = list(loader)
        rows = torch.cat([b["row"] for b in batches])
        return torch.cat([b["image"] for b in batches])[rows.argsort()]

    assert torch.equal(epoch(3), epoch(3, order=range(11, -1, -1)))
    assert torch.equal(epoch(3), epoch(3, workers=2))
    assert not torch.equal(epoch(3), epoch(4))
    assert not torch.equal(epoch(3), epoch(3, seed=1))


def test_counter_uniform_is_uniform_and_uncorrelated():
    u = counter_uniform(7, 2, np.arange(20000), 3)
    assert ((u >= 0) & (u < 1)).all()
    np.testing.assert_allclose(np.histogram(u, 10, (0, 1))[0] / u.size, 0.1, atol=0.01)
    v = counter_uniform(7, 3, np.arange(20000), 3)
    assert abs(np.corrcoef(np.hstack([u, v]).T) - np.eye(6)).max() < 0.03


def test_crop_larger_than_the_frame(folder):
    with pytest.raises(ValueError, match="crop must be between 1 and the folder's size 20, got 21"):
        FaceDataset(open_prepared(folder), [0], crop=21, train=True)


def test_worker_processes_are_sent_the_path_and_not_the_pixels(folder):
    opened = open_prepared(folder)
    sent = pickle.dumps(opened)
    assert len(sent) < 1000 < opened.images.nbytes
    np.testing.assert_array_equal(pickle.loads(sent).images, opened.images)


def test_photometric_changes_light_and_colour_but_not_geometry():
    from lorral_lite.datasets.prepared import PHOTOMETRIC_DRAWS, photometric

    draws = torch.from_numpy(counter_uniform(0, 0, np.arange(200), PHOTOMETRIC_DRAWS)).float() * 2 - 1
    image = torch.full((200, 3, 9, 9), -0.5)
    image[..., 4, 4] = 0.5
    out = photometric(image, draws, 1.0)
    assert out.isfinite().all()
    assert out.abs().max() <= 1
    assert (out - image).abs().amax((1, 2, 3)).min() > 0.01  # every image changes
    level = draws.clone()
    level[:, 8:10] = 0  # without the light ramp the bright pixel stays the brightest, unless all are black
    out = photometric(image, level, 1.0).mean(1).flatten(1)
    seen = out.amax(1) > out.amin(1) + 0.02
    assert seen.float().mean() > 0.9
    assert (out.argmax(1)[seen] == 40).all()
    grey = (image.clone().mul_(torch.tensor([1.0, 0.2, -0.4])[:, None, None]))
    flat = photometric(grey, torch.cat([draws[:, :4], torch.zeros(200, 7)], 1), 1.0)
    share = ((flat.amax(1) - flat.amin(1)).amax((1, 2)) < 1e-5).float().mean()
    assert 0.2 < share < 0.4  # 30 % turn grey
    torch.testing.assert_close(photometric(grey, draws, 0.0), grey.clamp(-0.998, 1), atol=1e-5, rtol=0)
