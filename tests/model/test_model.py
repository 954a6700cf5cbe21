"""The model: its shapes and counts, its parts put together by hand, and what step 2 freezes."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lorral_lite import AU_SETS, AUCrops, FeatConv, LoRRaL, LoRRaLConfig
from lorral_lite.model.losses import lorral_loss
from lorral_lite.model.relations import RELATIONS

TINY = {
    "image_size": 16, "frame_size": 20, "patch_channels": (2, 3), "patch_grids": (4, 2), "feat_channels": (3,),
    "local_channels": (4,), "crop_size": 2, "landmark_hidden": 5, "head_hidden": 6,
}  # fmt: skip


def tiny(**fields) -> LoRRaLConfig:
    return LoRRaLConfig.lite(**{"aus": (1, 6, 12), **TINY, **fields})


def batch(config: LoRRaLConfig, n: int = 2):
    torch.manual_seed(13)
    images = torch.randn(n, 3, config.image_size, config.image_size)
    return images, config.image_size * torch.rand(n, 49, 2)


def shapes_of(model: LoRRaL, images) -> dict:
    """Shape of the output of every part, in one forward pass."""
    found = {}

    def note(name):
        return lambda part, inputs, out: found.update({name: tuple(getattr(out, "shape", ()))})

    for name, part in model.named_modules():
        part.register_forward_hook(note(name))
    model(images)
    return found


@pytest.mark.parametrize(("config", "shapes"), [
    (LoRRaLConfig.paper(), {"patch": (64, 44, 44), "global_.2": (160, 5, 5), "landmark.2": (160, 5, 5),
                            "crops": (12, 2, 64, 8, 8), "local": (12 * 160, 1, 1), "relation": (12, 160),
                            "au_head.0": (512,)}),
    (LoRRaLConfig.lite(AU_SETS["disfa"]), {"patch": (32, 22, 22), "global_.1": (24, 5, 5), "landmark.1": (24, 5, 5),
                                           "crops": (8, 2, 32, 6, 6), "relation": (8, 24)}),
], ids=["paper", "lite"])
@torch.no_grad()
def test_the_features_have_the_shapes_of_the_predecessor_and_those_that_lite_states(config, shapes):
    found = shapes_of(LoRRaL(config).eval(), torch.zeros(1, 3, config.image_size, config.image_size))
    assert {name: found[name] for name in shapes} == {name: (1, *shape) for name, shape in shapes.items()}


def test_parameter_counts_of_paper_and_lite():
    with torch.device("meta"):
        paper = LoRRaL(LoRRaLConfig.paper(relation="self_attention")).parameter_count()
        lite = LoRRaL(LoRRaLConfig.lite(relation="self_attention")).parameter_count()
    conv = lambda i, o: 9 * i * o + o  # noqa: E731
    part = lambda i, o, grid: conv(i, o) + grid**2 * (conv(o, o) + 3 * o)  # noqa: E731
    feat = lambda i, o: conv(i, o) + conv(o, o) + 6 * o  # noqa: E731
    dense = lambda i, o: i * o + o  # noqa: E731
    assert paper["patch"] == part(3, 32, 8) + part(32, 64, 8) == 2_993_088
    assert paper["global_"] == paper["landmark"] == feat(64, 96) + feat(96, 128) + feat(128, 160) == 814_080
    assert paper["landmark_head"] == dense(4000, 512) + dense(512, 98) == 2_098_786
    assert paper["local"] == 12 * (feat(128, 96) + feat(96, 128) + feat(128, 160)) == 10_432_512
    assert paper["relation"] == 13 * 160**2 + 16 * 160 == 335_360
    assert paper["local_head"] == 12 * 161
    assert paper["au_head"] == dense(12 * 160 + 8000, 512) + 512 + dense(512, 12) == 5_086_220
    assert paper["total"] == 22_576_058
    assert lite["total"] == 702_010
    assert 4 * lite["total"] < 3e6  # bytes of the weights that ship
    deviations = (Path(__file__).parents[2] / "DEVIATIONS.md").read_text(encoding="utf-8")
    assert "22,576,058 parameters" in next(line for line in deviations.splitlines() if ">D82 |" in line)


@torch.no_grad()
def test_local_features_are_those_of_separate_stacks_at_the_given_landmarks():
    """Each AU's token by its own layers: its two windows, its rows of the grouped convolutions, its row of the head."""
    config = tiny()
    model = LoRRaL(config).eval()
    images, landmarks = batch(config)
    shared, block = model.patch(images), model.local[0]
    for a, au in enumerate(config.aus):
        windows = AUCrops((au,), config.crop_size)(shared, landmarks, config.image_size)  # (2, 1, 2 sides, 3, 2, 2)
        alone, rows = FeatConv(6, 4).eval(), slice(4 * a, 4 * a + 4)
        alone.load_state_dict({k: v[rows] if v.ndim else v for k, v in block.state_dict().items()})
        token = alone(windows.flatten(1, 3)).flatten(1)
        assert_close(model.features(images, landmarks).local[:, a], token, rtol=1e-4, atol=1e-5)
        logit = token @ model.local_head.weight[a] + model.local_head.bias[a]
        assert_close(model(images, landmarks).local_au_logits[:, a], logit, rtol=1e-4, atol=1e-5)


def test_au_head_reads_relation_tokens_global_and_landmark_features():
    config = tiny(relation="bilstm")
    model = LoRRaL(config).eval()
    features = model.features(*batch(config))
    tokens = model.relation(features.local)
    together = torch.cat([tokens.reshape(2, -1), features.global_, features.landmark], dim=1)
    output = model.from_features(features)
    assert_close(output.au_logits, model.au_head(together))
    assert_close(output.local_au_logits, model.local_head(tokens))
    assert_close(model(*batch(config)), output)


def test_landmark_head_starts_at_the_mean_shape_in_pixels():
    config = tiny()
    model, (images, points) = LoRRaL(config).eval(), batch(config)
    model.set_mean_shape(points[0])
    assert_close(model(images).landmarks, points[:1].expand(2, -1, -1), rtol=0, atol=0.2)
    nn.init.zeros_(model.landmark_head[-1].weight)
    assert_close(model(images).landmarks, points[:1].expand(2, -1, -1), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"mean shape must be finite and of shape \(49, 2\), got \(48, 2\)"):
        model.set_mean_shape(points[0, :48])


def test_landmarks_are_learnt_at_the_learning_rate_of_the_paper():
    """Four faces learnt by heart; counting in whole images the same steps end in NaN (D33)."""
    torch.manual_seed(0)
    config = LoRRaLConfig.lite((12,), local_channels=(2, 2))
    model, (images, points) = LoRRaL(config), batch(config, 4)
    points[:] = points[0]
    points[:, 19:25, 0], points[:, 25:31, 0] = 29.0, 59.0  # the eyes of an aligned face are a third of it apart
    points += 4 * torch.randn(4, 1, 2)
    model.set_mean_shape(points.mean(0))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    losses = []
    for _ in range(30):
        loss = lorral_loss(model(images, points), torch.ones(4, 1), points).landmark
        optimiser.zero_grad()
        (0.5 * loss).backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_crops_follow_the_predicted_landmarks_unless_others_are_given():
    config = tiny()
    model, (images, points) = LoRRaL(config).eval(), batch(config)
    model.set_mean_shape(points[0])
    predicted = model(images)
    assert_close(model(images, predicted.landmarks), predicted)
    assert (model(images, points.flip(1)).local_au_logits - predicted.local_au_logits).abs().max() > 1e-4


def test_au_losses_send_no_gradient_into_the_landmark_head():
    config = tiny()
    model, (images, _) = LoRRaL(config), batch(config)
    model(images).local_au_logits.sum().backward()
    assert model.landmark_head[0].weight.grad is None
    assert model.patch[0].conv.weight.grad.abs().sum() > 0


def train_step2(model, config, steps=3) -> None:
    """Some steps with momentum and weight decay, which would move whatever is not frozen."""
    images, points = batch(config, 4)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-2)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        lorral_loss(model(images, points), torch.tensor([[1, 0, -1]] * 4), points.flip(0)).total.backward()
        optimiser.step()


@pytest.mark.parametrize("train_landmarks", [True, False])
def test_frozen_step_2_tensors_and_buffers_stay_bit_identical(train_landmarks):
    config = tiny()
    model = LoRRaL(config)
    train_step2(model, config, steps=1)  # BatchNorm statistics that are not the initial ones
    model.set_relation("self_attention", seed=1)
    model.freeze_step1(train_landmarks=train_landmarks)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_step2(model, config)
    frozen = {"patch", "global_", "local", "mean_shape"} | (set() if train_landmarks else {"landmark", "landmark_head"})
    for name, value in model.state_dict().items():
        part = name.split(".")[0]
        if part in frozen:
            assert torch.equal(value, before[name]), f"{name} moved"
        elif "key.bias" not in name:  # a softmax does not feel the same shift of all keys
            assert not torch.equal(value, before[name]), f"{name} did not move"


def test_dropout_before_the_last_au_layer_while_training_only():
    """D30."""
    torch.manual_seed(0)
    model = LoRRaL(tiny(dropout=0.5))
    features = model.features(*batch(model.config))
    inputs = []
    model.au_head[-1].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    for mode in (True, False):
        model.train(mode).from_features(features)
    kept = inputs[0] != 0
    assert 0 < kept.double().mean() < 1
    assert_close(inputs[0][kept], 2 * inputs[1][kept])
    assert LoRRaLConfig.paper().dropout == LoRRaLConfig.lite().dropout == 0.2


def test_set_relation_starts_heads_anew_equally_for_all_relations():
    model = LoRRaL(tiny())
    kept, old = model.patch[0].conv.weight.clone(), model.au_head[0].weight.clone()
    state = torch.get_rng_state()
    heads = []
    for name in ("none", "hopfield", "bilstm"):
        model.set_relation(name, seed=5)
        assert isinstance(model.relation, RELATIONS[name])
        assert model.config.relation == name
        heads.append(model.au_head[0].weight)
    assert torch.equal(heads[0], heads[1])
    assert torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], old)
    assert torch.equal(model.patch[0].conv.weight, kept)
    assert torch.equal(torch.get_rng_state(), state)
    model.set_relation("none", seed=6)
    assert not torch.equal(heads[0], model.au_head[0].weight)


def test_set_relation_passes_options_and_keeps_dtype_and_mode():
    model = LoRRaL(tiny()).double().eval()
    model.set_relation("hopfield", seed=0, steps=4, beta=2.0)
    assert model.relation.layers[0].steps == 4
    assert model.relation.layers[0].beta == 2.0
    assert not model.relation.training
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    again = LoRRaL(LoRRaLConfig.from_dict(model.config.to_dict())).double()
    again.load_state_dict(model.state_dict())
    assert again.relation.layers[0].steps == 4


def test_bfloat16_autocast_keeps_landmarks_in_float32():
    config = tiny(relation="hopfield")
    images, points = batch(config)
    with torch.autocast("cpu", torch.bfloat16):
        output = LoRRaL(config)(images, points)
    assert output.landmarks.dtype == torch.float32
    assert all(value.isfinite().all() for value in output)


def test_gradcheck():
    torch.manual_seed(0)
    config = tiny(aus=(12,), patch_grids=(2, 2), relation="mlp")
    model = LoRRaL(config).double().eval()
    images, points = (x.double() for x in batch(config, 1))

    def logits(patch):
        return model(torch.cat([images[..., :12], patch], dim=-1), points).au_logits

    assert torch.autograd.gradcheck(logits, images[..., 12:].clone().requires_grad_(), fast_mode=True)


def test_config_goes_through_json_and_accepts_any_field():
    config = LoRRaLConfig.lite(AU_SETS["disfa"], "hopfield", relation_options={"steps": 3}, dropout=0.4)
    assert LoRRaLConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert LoRRaLConfig.paper().relation == "none"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"aus": (1, 99)}, "unknown action unit 99"),
        ({"aus": ()}, "at least one action unit"),
        ({"relation": "gnn"}, "unknown relation 'gnn'"),
        ({"patch_grids": (8,)}, "2 PatchConvs but 1 grids"),
        ({"patch_grids": (8, 8)}, "a map of 44×44 cannot be cut into 8×8 equal parts"),
        ({"crop_size": 8}, "2 the crops of 8 cells to exactly 1"),
        ({"feat_channels": (8,) * 5}, "5 FeatConvs must shrink the map of 22 cells to 1 or more"),
    ],
)
def test_configs_that_cannot_work_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        LoRRaLConfig.lite(**fields)


def test_other_errors():
    with pytest.raises(ValueError, match="unknown model field 'depth': choose from aus, relation"):
        LoRRaLConfig.from_dict({"depth": 3})
    with pytest.raises(ValueError, match=r"images must be \(B, 3, 16, 16\), got \(2, 3, 88, 88\)"):
        LoRRaL(tiny())(torch.zeros(2, 3, 88, 88))
    with pytest.raises(ValueError, match="unknown relation 'gnn'"):
        LoRRaL(tiny()).set_relation("gnn", seed=0)
