"""How much attention a token gets from all others: column sums of attention, in a few images.

Rows of attention sum to 1, so columns do so in the mean over all tokens; a token that many rows spend on is a sink. The
measure, largest over median, is that of arXiv 2606.08105. It takes all rows of a block's attention, which fused
attention never has in memory, so it is taken of the few images whose maps are kept, one by one, some rows at a time.

Letters: H heads, N tokens, D head width, R rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Weights of so many rows are held as fit: about a second-level cache on a CPU.
_BYTES = {"cpu": 2**21}
_ELSEWHERE = 2**27


def column_sums(q_HND: Tensor, k_HND: Tensor, scale: float) -> Tensor:
    """Return what each token of one image gets from all rows, mean over heads, fp32 [N].

    Parameters
    ----------
    q_HND, k_HND
        As they enter scaled dot-product attention.
    scale
        The factor of the logits.
    """
    import torch

    heads, tokens, _ = q_HND.shape
    rows = max(1, _BYTES.get(q_HND.device.type, _ELSEWHERE) // (4 * heads * tokens))
    with torch.autocast(q_HND.device.type, enabled=False):  # it would take the product in the low precision
        total_N = q_HND.new_zeros(tokens, dtype=torch.float32)
        k_HDN = k_HND.float().transpose(-2, -1)
        for q_HRD in q_HND.float().split(rows, dim=1):
            total_N += (q_HRD @ k_HDN).mul_(scale).softmax(dim=-1).sum(dim=(0, 1))
    return total_N / heads
