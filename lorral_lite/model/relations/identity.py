"""The frame of every relation, and the two controls against which a relation must show that it helps."""

from torch import Tensor, nn

RELATIONS: dict[str, type["Relation"]] = {}
"""Name → class, in the order of every table. A class with a ``name`` enters itself when its file is imported."""


class Relation(nn.Module):
    """A module from local AU features to new local AU features, (B, A, D) → (B, A, D).

    ``attention`` is None, or after a call the weights (B, heads, A, A) that row AU gave to column AU, without gradient.
    ``name`` stands in configs and folders, ``label`` in tables, ``colour`` and ``marker`` in figures.
    """

    name, label, colour, marker = "", "", "#222222", "o"
    attention: Tensor | None = None

    def __init_subclass__(cls, **options) -> None:
        super().__init_subclass__(**options)
        if "name" in vars(cls):
            RELATIONS[cls.name] = cls

    def __init__(self, dim: int, num_aus: int) -> None:
        super().__init__()
        if dim < 1 or num_aus < 1:
            raise ValueError(f"a relation needs at least 1 feature and 1 action unit, got {dim} and {num_aus}")
        self.dim, self.num_aus = dim, num_aus

    def check_tokens(self, tokens: Tensor) -> Tensor:
        """The tokens; ValueError unless they are (B, num_aus, dim)."""
        if tokens.ndim != 3 or tokens.shape[1:] != (self.num_aus, self.dim):
            raise ValueError(f"tokens must be (B, {self.num_aus}, {self.dim}), got {tuple(tokens.shape)}")
        return tokens


class NoRelation(Relation):
    """The features as they are: step 2 with this relation adds epochs, but neither parameters nor relations.

    >>> import torch
    >>> NoRelation(16, 12)(torch.zeros(2, 12, 16)).shape
    torch.Size([2, 12, 16])
    """

    name, label, colour, marker = "none", "no relation", "#6f6f6f", "o"

    def forward(self, tokens: Tensor) -> Tensor:
        return self.check_tokens(tokens)


class MLPRelation(Relation):
    """As many parameters as self-attention, but no AU ever sees another: the control of equal size (D20).

    ``tokens + Linear(ReLU(Linear(LayerNorm(tokens))))``, the same for every AU. ``parameters`` is the number of
    parameters to match within 2 % (by choice of the hidden width); None stands for that of a
    ``SelfAttentionRelation(dim, num_aus)``, which is 13 dim² + 16 dim.

    >>> import torch
    >>> MLPRelation(16, 12)(torch.zeros(2, 12, 16)).shape
    torch.Size([2, 12, 16])
    """

    name, label, colour, marker = "mlp", "MLP control", "#222222", "X"

    def __init__(self, dim: int, num_aus: int, parameters: int | None = None, dropout: float = 0.1) -> None:
        super().__init__(dim, num_aus)
        parameters = 13 * dim**2 + 16 * dim if parameters is None else parameters
        fixed, per_unit = 3 * dim, 2 * dim + 1  # LayerNorm and last bias; a hidden unit and its bias
        hidden = max(1, round((parameters - fixed) / per_unit))
        reached = fixed + hidden * per_unit
        if abs(reached - parameters) > 0.02 * parameters:
            raise ValueError(f"an MLP of width {dim} cannot have {parameters} parameters within 2 %: nearest {reached}")
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.check_tokens(tokens) + self.mlp(tokens)
