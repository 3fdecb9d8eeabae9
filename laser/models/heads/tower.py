"""A production-sized head: a tower of wide layers, for counting operations at a paper's geometry."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from laser.attention.relu import relu
from laser.errors import ModelError
from laser.models.heads.head import CATEGORY_WIDTH, CONTEXT, RankingHead, with_context


class TowerHead(RankingHead):
    """`RankingHead` with an MLP of any widths, ReLU between, to one number.

    Args:
        widths: of the input and the hidden layers, such as 4096, 2048, 1024, 512. A production ranker fills
            the input with hundreds of features; here the ad's embedding fills what the others leave.

    Raises:
        ModelError: the input is too narrow for what must enter.
    """

    def __init__(self, ads: int, categories: int, attended: int, widths: Sequence[int]) -> None:
        self.widths = [int(width) for width in widths]
        ad_width = self.widths[0] - attended - CATEGORY_WIDTH - CONTEXT if self.widths else 0
        if ad_width < 1:
            least = attended + CATEGORY_WIDTH + CONTEXT + 1
            raise ModelError(f"tower is {self.widths}, expected an input width of {least} or more first.")
        super().__init__(ads, categories, attended, ad_width)

    def _build(self, inputs: int) -> None:
        pairs = zip(self.widths, self.widths[1:], strict=False)
        self.layers = nn.ModuleList(nn.Linear(one, other) for one, other in pairs)
        self.out = nn.Linear(self.widths[-1], 1)

    def _scores(self, candidate: Tensor, context: Tensor) -> Tensor:
        x = with_context(candidate, context)
        for layer in self.layers:
            x = relu(layer(x))
        scores: Tensor = self.out(x)
        return scores
