"""AU relation learning with the continuous Hopfield layer (paper section 3.3, Figure 7; own implementation, D11)."""

import math
from functools import partial

from torch import Tensor, nn

from .self_attention import AttentionLayer, SelfAttentionRelation


def association(state: Tensor, stored: Tensor, beta: float) -> Tensor:
    """How much each state resembles each stored pattern: (…, S, d), (…, N, d) → (…, S, N), rows sum to 1."""
    return (beta * state @ stored.mT).softmax(dim=-1)


def hopfield_retrieve(state: Tensor, stored: Tensor, beta: float, steps: int = 1) -> Tensor:
    r"""Move each state pattern ``steps`` times towards the stored patterns it resembles.

    .. math:: \xi^{(t+1)} = \operatorname{softmax}\!\big(\beta\,\xi^{(t)} Y^\top\big)\,Y

    Source: Ramsauer et al. 2020 (arXiv:2008.02217), eq. (3); paper section 3.3. Small β averages all stored patterns,
    large β recalls one. Shape: state (…, S, d), stored (…, N, d) → (…, S, d).
    """
    for _ in range(steps):
        state = association(state, stored, beta) @ stored
    return state


def energy(state: Tensor, stored: Tensor, beta: float) -> Tensor:
    r"""The energy that an update of :func:`hopfield_retrieve` never raises.

    .. math:: E = -\tfrac1\beta \log\sum_n e^{\beta\,\xi^\top y_n} + \tfrac12 \xi^\top\xi + \tfrac1\beta \log N
        + \tfrac12 \max_n \lVert y_n\rVert^2

    Source: Ramsauer et al. 2020, eq. (2). It is never negative. Shape: state (…, S, d), stored (…, N, d) → (…, S).
    """
    lse = (beta * state @ stored.mT).logsumexp(dim=-1) / beta
    largest = stored.square().sum(-1).amax(-1, keepdim=True)  # (…, 1)
    return -lse + state.square().sum(-1) / 2 + math.log(stored.shape[-2]) / beta + largest / 2


def check_steps(steps: int) -> int:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return steps


class HopfieldRetrieval(nn.Module):
    """:func:`hopfield_retrieve` as a module without parameters; ``attention`` (…, S, N) of the last step after a call.

    β is 1 / √dim when not given, as in attention.
    """

    attention: Tensor | None = None

    def __init__(self, dim: int, beta: float | None = None, steps: int = 1) -> None:
        super().__init__()
        self.beta = dim**-0.5 if beta is None else beta
        self.steps = check_steps(steps)

    def forward(self, state: Tensor, stored: Tensor) -> Tensor:
        state = hopfield_retrieve(state, stored, self.beta, self.steps - 1)
        weights = association(state, stored, self.beta)
        self.attention = weights.detach()
        return weights @ stored


class HopfieldLayer(AttentionLayer):
    """Equation 3.3 applied repeatedly: the queries move among the keys, and only the last state reads the values.

    Source: paper section 3.3, which applies the update to the state of each head several times and projects only the
    state after the last update.
    """

    def __init__(self, dim: int, heads: int, dropout: float, steps: int, beta: float | None) -> None:
        super().__init__(dim, heads, dropout)
        self.steps = check_steps(steps)
        self.beta = (dim // heads) ** -0.5 if beta is None else beta

    def associate(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        q = hopfield_retrieve(q, k, self.beta, self.steps - 1)
        weights = association(q, k, self.beta)
        return weights @ v, weights

    def extra_repr(self) -> str:
        return f"steps={self.steps}, beta={self.beta:.4g}"


class HopfieldRelation(SelfAttentionRelation):
    """Self-attention whose queries are updated ``steps`` times; 1 step is self-attention itself.

    Source: paper section 3.3, Figure 7. Instead of the threshold that stops the updates there, their number is fixed,
    so that the result for a face does not depend on its batch; β is 1 / √(dim / heads) when not given (D11). The
    parameters are those of :class:`SelfAttentionRelation` under the same names: a state_dict moves between the two.

    Shape: (B, A, dim) → (B, A, dim), dim divisible by heads; ``attention`` (B, heads, A, A) of the last update.

    >>> import torch
    >>> HopfieldRelation(16, 12, steps=3)(torch.zeros(2, 12, 16)).shape
    torch.Size([2, 12, 16])
    """

    name, label, colour, marker = "hopfield", "Hopfield", "#D55E00", "^"

    # D34 two updates
    def __init__(self, dim: int, num_aus: int, steps: int = 2, beta: float | None = None, **options) -> None:
        super().__init__(dim, num_aus, layer=partial(HopfieldLayer, steps=steps, beta=beta), **options)
