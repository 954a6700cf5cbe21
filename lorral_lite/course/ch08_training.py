"""Chapter 8, losses and two-step training: schedules, live curves, exercises."""

import ipywidgets as w
import numpy as np
import torch

from ..draw.base import BLUE, RED, Picture, new_plot, styled
from ..draw.results import training_curves
from ..model.lorral import LoRRaL, LoRRaLConfig
from ..model.losses import landmark_loss
from ..training.config import Schedule
from .check import exercise
from .explore import SLIDER, explore, picture_html


@exercise("8.1", "each point is 5 px off, so 49 × 25 is the sum of squares; divide by twice 50 squared",
          tolerance=0.0005)
def _landmark_loss_by_hand():
    truth = torch.zeros(1, 49, 2)
    truth[:, 25:31, 0] = 50  # the right eye, 50 px from the left one
    return float(landmark_loss(truth + torch.tensor([3.0, 4.0]), truth))


@exercise("8.2", "cumulate Schedule(gamma=0.5).at(epoch), divide by the total, count epochs until it reaches 0.999")
def _epochs_with_gamma_half():
    rates = [Schedule(gamma=0.5).at(epoch) for epoch in range(30)]
    return 1 + int(np.argmax(np.cumsum(rates) >= 0.999 * sum(rates)))


@exercise("8.3", "model.freeze_step1(train_landmarks=True), then look at requires_grad of every named_parameters()")
def _parts_that_learn_in_step_2():
    model = LoRRaL(LoRRaLConfig.lite(relation="mlp"))
    model.freeze_step1(train_landmarks=True)
    return {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}


@exercise("8.4", "each batch keeps 90 % of the old mean and adds 10 % of its own: find the first n with 0.9^n < 0.01")
def _batches_until_the_old_statistics_are_gone():
    return next(n for n in range(1, 1000) if 0.9**n < 0.01)


@styled
def plot_schedule(gamma: float = 0.3, every: int = 2) -> Picture:
    """A learning rate that shrinks by ``gamma`` every ``every`` epochs, and how much of its sum is spent after each.

    The defaults are the paper's (section 3.5), which starts at 0.01 and ends after 30 epochs. The dashed line stands
    where 99.9 % is spent. ValueError of :class:`~lorral_lite.training.config.Schedule` for a schedule that is none.
    """
    schedule = Schedule(gamma=gamma, every=every)
    epochs = schedule.epochs
    rates = np.array([schedule.at(epoch) for epoch in range(epochs)])
    spent = 100 * rates.cumsum() / rates.sum()
    done = int(np.argmax(spent >= 99.9)) + 1
    fig = new_plot(10.2, 4.0, f"Learning rate {schedule.lr:g} times {gamma:g} every {every} epochs: 99.9 % of its sum "
                   f"is spent after epoch {done} of {epochs}")
    left, right = fig.subplots(1, 2)
    x = np.arange(1, epochs + 1)
    left.step(x, rates, where="mid", color=BLUE)
    left.set(title="Learning rate", yscale="log")
    right.plot(x, spent, "o-", color=BLUE, ms=4)
    right.set(title="Spent of the summed rate (%)", ylim=(0, 104))
    right.axvline(done, color=RED, ls="--", lw=1.6)
    right.text(done + (0.4 if done < 0.6 * epochs else -0.4), 12, f"99.9 % after\nepoch {done} of {epochs}", color=RED,
               ha="left" if done < 0.6 * epochs else "right", fontsize=12)
    for ax in (left, right):
        ax.set(xlabel="epoch", xlim=(0.5, epochs + 0.5))
        ax.grid(axis="y")
    return fig


class LiveCurves:
    """Training curves that grow while a step trains: show ``picture``, and give it ``update`` as ``on_epoch``."""

    def __init__(self, title: str = "Training") -> None:
        self.title, self.picture = title, w.HTML("<p>No epoch is done yet.</p>")

    def update(self, log: list[dict]) -> None:
        done = f"{self.title}: {len(log)} epoch{'s' * (len(log) > 1)} done"
        self.picture.value = picture_html(training_curves(log, done))


def schedule_explorer() -> w.VBox:
    """Sliders for the decay of the paper's learning rate: when is nothing left to learn with?"""
    return explore(plot_schedule,
                   gamma=w.FloatSlider(0.3, min=0.1, max=1.0, step=0.1, continuous_update=False, layout=SLIDER),
                   every=w.IntSlider(2, min=1, max=10, continuous_update=False, layout=SLIDER))
