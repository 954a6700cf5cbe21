"""The losses against loops with ``math``, with unknown labels and an AU that nobody knows."""

import math

import pytest
import torch
from torch.testing import assert_close

from lorral_lite.model.lorral import Output
from lorral_lite.model.losses import au_cross_entropy, au_dice, au_weights_from_rates, landmark_loss, lorral_loss

LABELS = torch.tensor([[1, 0, -1, -1], [0, 0, -1, 1], [-1, 1, -1, 1]])  # AU 2 is known nowhere
WEIGHTS = [0.5, 2.0, 9.0, 1.0]


@pytest.fixture
def logits():
    torch.manual_seed(10)
    return 2 * torch.randn(3, 4, dtype=torch.float64)


def mean_over_aus(per_au):
    """per_au: a list of (weight, loss or None when nothing is known)."""
    known = [w * x for w, x in per_au if x is not None]
    return sum(known) / len(known) if known else 0.0


def cross_entropy_by_loops(logits, labels, weights):
    per_au = []
    for a in range(logits.shape[1]):
        costs = []
        for n in range(logits.shape[0]):
            p = 1 / (1 + math.exp(-float(logits[n, a])))
            if labels[n, a] >= 0:
                costs.append(-math.log(p if labels[n, a] == 1 else 1 - p))
        per_au.append((weights[a], sum(costs) / len(costs) if costs else None))
    return mean_over_aus(per_au)


def dice_by_loops(logits, labels, weights):
    per_au = []
    for a in range(logits.shape[1]):
        known = [n for n in range(logits.shape[0]) if labels[n, a] >= 0]
        p = {n: 1 / (1 + math.exp(-float(logits[n, a]))) for n in known}
        top = 2 * sum(p[n] * float(labels[n, a]) for n in known) + 1
        bottom = sum(p[n] ** 2 for n in known) + sum(float(labels[n, a]) ** 2 for n in known) + 1
        per_au.append((weights[a], 1 - top / bottom if known else None))
    return mean_over_aus(per_au)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(("loss", "loops"), [(au_cross_entropy, cross_entropy_by_loops), (au_dice, dice_by_loops)])
def test_au_losses_match_literal_loops_with_unknown_labels(loss, loops, weights, logits):
    tensor = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    assert float(loss(logits, LABELS, tensor)) == pytest.approx(loops(logits, LABELS, weights or [1] * 4), abs=1e-12)


@pytest.mark.parametrize("loss", [au_cross_entropy, au_dice])
def test_unknown_labels_send_no_gradient(loss, logits):
    logits.requires_grad_()
    loss(logits, LABELS).backward()
    assert (logits.grad[LABELS < 0] == 0).all()
    assert (logits.grad[LABELS >= 0] != 0).all()


@pytest.mark.parametrize("loss", [au_cross_entropy, au_dice])
def test_nothing_known_costs_nothing_and_has_a_gradient_of_zero(loss, logits):
    logits.requires_grad_()
    value = loss(logits, torch.full((3, 4), -1))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


def test_a_wrong_answer_however_sure_costs_a_finite_loss():
    assert au_cross_entropy(torch.tensor([[-50_000.0, 50_000.0]]), torch.tensor([[1, 0]])).isfinite()


def test_landmark_loss_matches_literal_loops():
    torch.manual_seed(11)
    predicted, truth = (88 * torch.rand(2, 49, 2, dtype=torch.float64) for _ in range(2))
    faces = []
    for b in range(2):
        squared = sum(float(predicted[b, k, d] - truth[b, k, d]) ** 2 for k in range(49) for d in range(2))
        left, right = (
            [sum(float(truth[b, k, d]) for k in eye) / 6 for d in range(2)] for eye in (range(19, 25), range(25, 31))
        )
        faces.append(squared / (2 * ((left[0] - right[0]) ** 2 + (left[1] - right[1]) ** 2)))
    assert float(landmark_loss(predicted, truth)) == pytest.approx(sum(faces) / 2, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_keep_the_dtype(output, dtype):
    output = Output(*[x.to(dtype) for x in output])
    losses = lorral_loss(output, LABELS.to(torch.int8), output.landmarks, "jaa", WEIGHTS)
    assert {x.dtype for x in losses} == {dtype}
    assert {x.shape for x in losses} == {()}


def test_landmark_loss_of_a_face_without_extent_is_finite():
    assert landmark_loss(torch.ones(1, 49, 2), torch.zeros(1, 49, 2)).item() == pytest.approx(49)


@pytest.fixture
def output(logits):
    torch.manual_seed(12)
    return Output(logits, -0.5 * logits, 88 * torch.rand(3, 49, 2, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["ce", "jaa"])
def test_total_is_the_weighted_sum_of_its_parts(kind, output):
    truth = output.landmarks.flip(0)
    losses = lorral_loss(output, LABELS, truth, kind, WEIGHTS, weights=(2.0, 3.0, 5.0))
    for part, logits in ((losses.au, output.au_logits), (losses.local_au, output.local_au_logits)):
        expected = cross_entropy_by_loops(logits, LABELS, WEIGHTS)
        if kind == "jaa":
            expected += dice_by_loops(logits, LABELS, WEIGHTS)
        assert float(part) == pytest.approx(expected, rel=1e-9)
    assert_close(losses.landmark, landmark_loss(output.landmarks, truth))
    assert_close(losses.total, 2 * losses.au + 3 * losses.local_au + 5 * losses.landmark)


def test_default_weights_are_1_1_and_a_half(output):
    losses = lorral_loss(output, LABELS, output.landmarks.flip(0))
    assert_close(losses.total, losses.au + losses.local_au + losses.landmark / 2)


def test_gradcheck(output):
    truth = output.landmarks.flip(0).clone()

    def total(*tensors):
        return lorral_loss(Output(*tensors), LABELS, truth, "jaa", WEIGHTS).total

    assert torch.autograd.gradcheck(total, tuple(t.clone().requires_grad_() for t in output))


def test_jaa_weights_from_rates():
    rates = [0.2, 0.5, 0.1]
    inverse = [1 / r for r in rates]
    expected = [x / sum(inverse) * 3 for x in inverse]
    assert_close(au_weights_from_rates(rates), torch.tensor(expected))
    with pytest.raises(ValueError, match="rates must be above 0 and at most 1"):
        au_weights_from_rates([0.2, 0.0])


def test_errors(output):
    with pytest.raises(ValueError, match="unknown loss 'focal': choose from ce, jaa"):
        lorral_loss(output, LABELS, output.landmarks, "focal")
    with pytest.raises(ValueError, match=r"labels must be \(3, 4\) like the logits, got \(3, 2\)"):
        lorral_loss(output, LABELS[:, :2], output.landmarks)
    with pytest.raises(ValueError, match=r"landmarks must be \(3, 49, 2\), got \(1, 49, 2\)"):
        lorral_loss(output, LABELS, output.landmarks[:1])
