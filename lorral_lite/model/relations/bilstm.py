"""AU relation learning with a BiLSTM (paper section 3.1, Figure 5)."""

from torch import Tensor, nn

from .identity import Relation


class BiLSTMRelation(Relation):
    """Read the AUs in their natural order, forwards and backwards; each output has seen all others.

    Source: paper section 3.1 ("AU1, AU2, ..., AU23, and AU24"). Not stated there: dim / 2 hidden units per direction,
    so that the two directions together are a token again, one layer, and whether the output replaces the token or, with
    ``residual=True``, is added to it (D9).

    The order matters: unlike attention, a BiLSTM gives other results when the AUs are permuted.

    Shape: (B, A, dim) → (B, A, dim), dim even

    >>> import torch
    >>> BiLSTMRelation(16, 12)(torch.zeros(2, 12, 16)).shape
    torch.Size([2, 12, 16])
    """

    name, label, colour, marker = "bilstm", "BiLSTM", "#E69F00", "s"

    def __init__(self, dim: int, num_aus: int, residual: bool = False) -> None:
        super().__init__(dim, num_aus)
        if dim % 2:
            raise ValueError(f"a BiLSTM gives half of the features to each direction: dim must be even, got {dim}")
        self.residual = residual
        self.lstm = nn.LSTM(dim, dim // 2, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tensor) -> Tensor:
        new, _ = self.lstm(self.check_tokens(tokens))
        return tokens + new if self.residual else new

    def extra_repr(self) -> str:
        return f"residual={self.residual}"
