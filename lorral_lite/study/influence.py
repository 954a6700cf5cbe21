"""What a relation module does with its tokens, measured: who influences whom, and how far attention spreads."""

import numpy as np
import torch

from ..model.relations import hopfield_retrieve


def influence(relation, tokens: torch.Tensor) -> torch.Tensor:
    """How much the new token of AU i (row) moves when the token of AU j (column) moves: ‖∂ new_i / ∂ token_j‖.

    Frobenius norm of the D × D block of the Jacobian, mean over the faces. (N, A, D) → (A, A).
    """
    relation.eval()
    n, a, d = tokens.shape
    copies, rows = tokens.detach().repeat(d, 1, 1).requires_grad_(), []
    for i in range(a):  # copy k of all faces asks for feature k of the new token i
        wanted = relation(copies)[:, i].view(d, n, d).diagonal(dim1=0, dim2=2)
        (block,) = torch.autograd.grad(wanted.sum(), copies)
        rows.append(block.view(d, n, a, d).square().sum((0, 3)).sqrt().mean(0))
    return torch.stack(rows)


@torch.no_grad()
def swap_effect(relation, head, tokens: torch.Tensor, labels) -> torch.Tensor:
    """What AU j does to the logit of AU i: (A, A), rows i, columns j, signed.

    In every face the token of AU j is set to the mean token of faces that show it, then of faces that do not; the
    entry is the mean difference of the logits that ``head`` reads from the new tokens. NaN when all or no faces show j.
    """
    labels, columns = torch.as_tensor(labels), []
    for j in range(tokens.shape[1]):
        logits = []
        for shown in (1, 0):
            changed = tokens.clone()
            changed[:, j] = tokens[labels[:, j] == shown, j].mean(0)
            logits.append(head(relation(changed)))
        columns.append((logits[0] - logits[1]).mean(0))
    return torch.stack(columns, dim=1)


def pair_correlation(a, b, permutations: int = 999, seed: int = 0) -> tuple[float, float]:
    """Pearson correlation of two (A, A) tables over the pairs i ≠ j, and how often chance does as well (p).

    Pairs that share an AU are not independent, so chance renames the AUs of one table (Mantel 1967), two-sided.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != a.shape[1] or len(a) < 3:
        raise ValueError(f"two square tables of equal size are needed, at least 3 × 3, got {a.shape} and {b.shape}")
    pairs, rng = ~np.eye(len(a), dtype=bool), np.random.default_rng(seed)
    r = np.corrcoef(a[pairs], b[pairs])[0, 1]
    orders = [rng.permutation(len(a)) for _ in range(permutations)]
    chance = [np.corrcoef(a[np.ix_(order, order)][pairs], b[pairs])[0, 1] for order in orders]
    return float(r), float((1 + np.sum(np.abs(chance) >= abs(r) - 1e-12)) / (permutations + 1))


def effective_number(weights: torch.Tensor) -> torch.Tensor:
    """How many patterns weights (…, N) that sum to 1 spread over: e to the power of their entropy, 1 to N."""
    return torch.special.entr(weights).sum(-1).exp()


def retrieval_rate(patterns: int, beta: float, steps: int = 1, *, bits: int = 64, queries: int = 200,
                   seed: int = 0) -> float:
    """Share of ``queries`` random ±1 patterns that :func:`hopfield_retrieve` completes without a wrong bit.

    ``patterns`` are stored; in each query half of the bits are hidden (set to 0).
    """
    rng = torch.Generator().manual_seed(seed)
    stored = torch.randint(0, 2, (patterns, bits), generator=rng) * 2.0 - 1
    wanted = stored[torch.randint(0, patterns, (queries,), generator=rng)]
    hidden = torch.rand(queries, bits, generator=rng).argsort(-1) < bits // 2
    recalled = hopfield_retrieve(wanted.masked_fill(hidden, 0), stored, beta, steps)
    return (recalled.sign() == wanted).all(-1).float().mean().item()


def au_order(shuffle: int, aus: int = 12) -> torch.Tensor:
    """Places of the AUs in the order number ``shuffle``; 0 is the natural one."""
    if not shuffle:
        return torch.arange(aus)
    return torch.randperm(aus, generator=torch.Generator().manual_seed(shuffle))


def reordered_influence(relation, tokens: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """:func:`influence` when the relation reads the AUs in ``order``; rows and columns in natural order again."""
    back = order.argsort()
    return influence(relation, tokens[:, order])[back][:, back]
