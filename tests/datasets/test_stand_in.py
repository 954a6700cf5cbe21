"""The stand-ins have the documented layout: read back here with csv, h5py, scipy, Pillow and PyAV alone."""

import csv

import av
import h5py
import numpy as np
import pytest
import scipy.io

from lorral_lite.datasets.source import is_stand_in
from lorral_lite.datasets.stand_in import write_bp4d, write_disfa
from lorral_lite.landmarks import FROM_66

AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


@pytest.fixture(scope="module")
def bp4d(tmp_path_factory):
    return write_bp4d(tmp_path_factory.mktemp("bp4d") / "BP4D", frames=3, unknown=2)


@pytest.fixture(scope="module")
def disfa(tmp_path_factory):
    return write_disfa(tmp_path_factory.mktemp("disfa") / "DISFA", frames=3)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def table(path):
    with open(path, newline="", encoding="utf8") as file:
        return list(csv.reader(file))


def frames_of(video):
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


# --- BP4D


def test_images_have_three_digits_or_four_and_some_are_not_coded(bp4d):
    images = bp4d.root / "Sequences(2D+3D)"
    assert names(images / "F001" / "T1") == ["2439.jpg", "2439.obj", *(f"{n}.jpg" for n in range(2440, 2444))]
    assert names(images / "F004" / "T2") == ["036.jpg", "036.obj", "037.jpg", "038.jpg", "039.jpg", "040.jpg"]


def test_labels_name_frame_and_aus_by_number(bp4d):
    header, *rows = table(bp4d.root / "AUCoding" / "AU_OCC" / "F001_T1.csv")
    assert header == [str(k) for k in range(100)]
    assert [row[0] for row in rows] == ["2440", "2441", "2442"]
    assert {row[99] for row in rows} == {"0"}
    labels = np.array(rows, int)
    assert set(np.unique(labels[:, 1:])) <= {0, 1, 9}
    assert (labels[:, [k for k in range(1, 99) if k not in AUS]] == 9).all()
    of_12 = labels[:, list(AUS)]
    assert (of_12[0, :2] == 9).all()
    assert (np.where(of_12 == 9, -1, of_12) == bp4d.labels[:3]).all()
    assert (bp4d.labels == -1).sum() == 2 * 6
    assert table(bp4d.root / "AUCoding/AU_INT/AU06/F001_T1_AU06.csv")[0] == ["2440", "0"]  # a decoy without header


def test_landmarks_are_matlab_73_from_one_with_empty_entries(bp4d):
    path = bp4d.root / "2DFeatures" / "F001_T2.mat"
    with pytest.raises(NotImplementedError, match=r"matlab v7\.3"):
        scipy.io.loadmat(path)
    with h5py.File(path) as file:
        pred = file["fit/pred"]
        assert h5py.check_ref_dtype(pred.dtype) is h5py.Reference
        assert pred.shape == (40, 1)
        stored = [file[r][()] for r in pred[:, 0]]
        assert file[pred[38, 0]].attrs["MATLAB_empty"] == 1
    rows = [k for k, row in enumerate(bp4d.index) if row[:2] == ("F001", "T2")]
    assert [bp4d.index[k][2] for k in rows] == [37, 38, 39]
    assert stored[38].shape == (2,)  # frame 39, the last coded one
    for frame, row in ((37, rows[0]), (38, rows[1])):
        np.testing.assert_allclose(stored[frame - 1].T - 1, bp4d.landmarks[row], atol=1e-4)
    assert bp4d.tracked[rows].tolist() == [True, True, False]
    assert (~bp4d.tracked).sum() == 3


# --- DISFA


def test_videos_and_labels_of_disfa(disfa):
    assert names(disfa.root) == ["ActionUnit_Labels", "Landmark_Points", "README.txt", "Videos_LeftCamera"]
    assert names(disfa.root / "Videos_LeftCamera") == [f"LeftVideoSN00{k}_comp.avi" for k in (1, 3, 6)]
    frames = frames_of(disfa.root / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi")
    assert [frame.shape for frame in frames] == [(96, 128, 3)] * 3
    assert len(names(disfa.root / "ActionUnit_Labels" / "SN001")) == 12
    for a, au in enumerate((1, 2, 4, 6, 9, 12, 25, 26)):
        rows = np.array(table(disfa.root / "ActionUnit_Labels" / "SN003" / f"SN003_au{au}.txt"), int)
        assert rows[:, 0].tolist() == [1, 2, 3]
        assert set(rows[:, 1]) <= set(range(6))
        assert ((rows[:, 1] >= 2) == disfa.labels[3:6, a]).all()


def test_landmarks_of_disfa(disfa):
    folder = disfa.root / "Landmark_Points" / "SN003" / "tmp_frame_lm"
    assert names(folder) == [f"SN003_000{k}_lm.mat" for k in range(3)]
    pts = scipy.io.loadmat(folder / "SN003_0001_lm.mat")["pts"]
    assert pts.shape == (66, 2)
    np.testing.assert_allclose(pts[FROM_66] - 1, disfa.landmarks[4], atol=1e-4)


def test_it_says_what_it_is(bp4d, disfa, tmp_path):
    for made, name in ((bp4d, "BP4D"), (disfa, "DISFA")):
        assert f"it is not {name}" in (made.root / "README.txt").read_text(encoding="utf8")
        assert is_stand_in(made.root)
    assert not is_stand_in(tmp_path)
