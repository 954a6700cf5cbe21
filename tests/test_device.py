"""Devices: everything made on the way lives where it was asked for. The meta device stands in for a GPU: it refuses
to mix with the CPU as a GPU does, and needs none."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from lorral_lite.device import pick_device
from lorral_lite.faces import render_faces
from lorral_lite.model.lorral import LoRRaL, LoRRaLConfig
from lorral_lite.model.losses import lorral_loss
from lorral_lite.model.relations import RELATIONS


class HostTalk(TorchFunctionMode):
    """Lists the calls that make a GPU wait for the host: Python numbers carried to it, and numbers read from it."""

    READ = frozenset({"item", "tolist", "cpu", "numpy", "nonzero", "masked_select", "__bool__", "__int__", "__float__"})

    def __init__(self):
        super().__init__()
        self.heard = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = function.__name__
        carried = name in ("tensor", "as_tensor") and not isinstance(args[0], torch.Tensor)
        if name == "__getitem__":
            carried = any(isinstance(i, list) for i in (args[1] if isinstance(args[1], tuple) else (args[1],)))
        if carried or name in self.READ:
            self.heard.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("kind", ["ce", "jaa"])
def test_a_training_step_stays_on_its_device_and_never_waits_for_the_host(relation, kind):
    model = LoRRaL(LoRRaLConfig.lite(relation=relation)).to("meta")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images, labels = torch.zeros(4, 3, 88, 88, device="meta"), torch.ones(4, 12, dtype=torch.int8, device="meta")
    truth, weights = torch.zeros(4, 49, 2, device="meta"), torch.ones(12, device="meta")

    def step():
        optimiser.zero_grad()
        output = model(images)
        lorral_loss(output, labels, truth, kind, weights if kind == "jaa" else None).total.backward()
        optimiser.step()
        assert {t.device.type for t in output} == {"meta"}
        assert {p.grad.device.type for p in model.parameters() if p.grad is not None} == {"meta"}

    step()  # the first one may: it keeps what it copies
    with HostTalk() as talk:
        step()
    assert talk.heard == []


def test_faces_are_drawn_on_their_device(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda self: True)
    faces = render_faces(torch.full((5, 18), 0.5), 64, seed=[1, 2, 3, 4, 5], device="meta")
    assert faces.images.device.type == faces.landmarks.device.type == "meta"
    assert faces.images.shape == (5, 3, 64, 64)


def test_picking():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(ValueError, match=rf"device '{name}' cannot be used here .* use auto, cpu or cuda"):
            pick_device(name)
