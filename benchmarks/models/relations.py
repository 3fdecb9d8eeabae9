"""Whether a trained model heeds behaviours whose category is related to a candidate's.

Categories of a department are neighbours by number (`simulator/world/config.py`). To a candidate a behaviour
is of its "own" category, of a "related" one, another of the department, or of any "other". In a world where
categories are not related the same departments are names alone, and related is as other.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.models.world_files import world_config
from laser.attention.activation_unit import activations
from laser.attention.segmented import gate_weights
from laser.attention.shared import masked_softmax
from laser.batch import RankingBatch
from laser.examples import ExampleSet
from laser.models import RankingModel
from laser.models.din import Din
from laser.models.laser import Laser
from laser.models.stca import Stca
from laser.training.metrics import truth_weighted_auc
from simulator.traffic.behaviours import CLICK, FEED
from simulator.traffic.examples import log_examples
from simulator.world.clock import DAY_S
from simulator.world.world import build_world

OWN, RELATED, OTHER = "own", "related", "other"
_SEED = 0
_REQUESTS = 2000  # that a pull is taken over
_CHANGED = 10  # newest behaviours of each that become of one category
Matrix = NDArray[np.float64]
Pairs = NDArray[np.bool_]


def heeds(model: RankingModel, held_out: ExampleSet, department: int, history: int) -> dict[str, Any]:
    """How a model's logits and its attention depend on what behaviours are to a candidate.

    Returns:
        "pull": by relation, own and related, how much the logit of a held-out candidate is above that with
        the newest ten behaviours of other categories, in logits. "weight": by relation, the mean weight that
        the model's attention gives a behaviour (`weights`); None for a model without one.
    """
    found = weights(model.eval())
    relation = relations(model.config.categories, department)
    return {
        "pull": pull(model, held_out, relation, history),
        "weight": None
        if found is None
        else {name: float(found[pairs].mean()) for name, pairs in relation.items()},
    }


def relations(categories: int, department: int) -> dict[str, Pairs]:
    """By relation, (K, K) which behaviour's categories (columns) have it to which candidate's (rows)."""
    number = np.arange(categories)
    own = np.eye(categories, dtype=np.bool_)
    together = number[:, None] // department == number // department
    return {OWN: own, RELATED: together & ~own, OTHER: ~together}


def pull(
    model: RankingModel, held_out: ExampleSet, relation: dict[str, Pairs], history: int
) -> dict[str, float]:
    """Mean logit with the newest behaviours of the candidate's own or of related categories, above others.

    The first candidate of each request is asked. What else behaviours are, actions, scenes and ages, stays.
    """
    rng = np.random.default_rng(_SEED)
    rows = np.arange(min(_REQUESTS, len(held_out)))
    batch = held_out.batch(rows, history)
    candidate = batch.ad_category[:, 0].numpy()
    one = {name: getattr(batch, name)[:, :1] for name in ("ad", "ad_category", "position")}
    batch = replace(batch, **one, candidate_count=torch.ones_like(batch.candidate_count))
    newest, owner = _newest(batch)
    logits = {}
    for name, pairs in relation.items():
        category = batch.category.clone()
        drawn = np.array([rng.choice(np.flatnonzero(pairs[candidate[row]])) for row in owner], np.int64)
        category[newest] = torch.from_numpy(drawn)
        with torch.inference_mode():
            logits[name] = float(model(replace(batch, category=category)).mean())
    return {name: logits[name] - logits[OTHER] for name in (OWN, RELATED)}


def _newest(batch: RankingBatch) -> tuple[Tensor, NDArray[np.int64]]:
    """Places of each request's newest behaviours, and whose they are."""
    owner = torch.arange(batch.requests).repeat_interleave(batch.lengths)
    back = batch.offsets[1:][owner] - torch.arange(len(owner))
    newest = torch.nonzero(back <= _CHANGED).flatten()
    return newest, owner[newest].numpy()


def weights(model: RankingModel) -> Matrix | None:
    """(K, K) the weight of a behaviour of each category (columns) to a candidate of each (rows).

    The behaviours are clicks in the feed, a day old. DIN: their activation. LASER: their gate, of the head
    that gives a candidate's own category the most beside the mean. STCA: their share in the first read of a
    history of one behaviour of each category. None for other models.
    """
    batch, table = _one_of_each(model.config.categories), model.category.weight
    with torch.inference_mode():
        if isinstance(model, Din):
            history, _ = model.reading.history(batch, table)
            return _numbers(activations(model.reading.unit, table.unsqueeze(0), history)[0])
        if isinstance(model, Laser):
            history, _ = model.history(batch, table)
            return _numbers(_gates(model.branches[0].gather, table, history))
        if isinstance(model, Stca):
            history, _ = model.history(batch, table)
            return _numbers(_shares(model, table, history))
    return None


def _gates(gather: Any, table: Tensor, history: Tensor) -> Tensor:
    """(K, K) of LASER's more selective head."""
    query = torch.einsum("cd,ade->cae", table, gather.query).unsqueeze(0)
    gates = gate_weights(query, history.unsqueeze(1), 1, gather.bias)[0]
    selective = gates.diagonal(dim1=1, dim2=2).mean(dim=1) - gates.mean(dim=(1, 2))
    return gates[selective.argmax()]


def _shares(model: Any, table: Tensor, history: Tensor) -> Tensor:
    """(K, K) of STCA's first read, which has one head."""
    read = model.reads[0]
    query = read.query(model.first(model.candidate(table.unsqueeze(0))))
    keys = read.key(model.of_history[0](history))
    scores = query @ keys.transpose(1, 2) * keys.shape[2] ** -0.5
    return masked_softmax(scores.unsqueeze(2), None, read.sink)[0, :, 0]


def _numbers(weights: Tensor) -> Matrix:
    found: Matrix = weights.double().numpy()
    return found


def _one_of_each(categories: int) -> RankingBatch:
    """A request whose history holds one behaviour of each category, and whose candidates are of each."""
    each, zeros = np.arange(categories), np.zeros(categories, np.int64)
    return RankingBatch.from_numpy(
        category=each,
        action=zeros + CLICK,
        scene=zeros + FEED,
        age_s=zeros + DAY_S,
        dwell_s=zeros,
        offsets=np.array([0, categories]),
        ad=zeros[None],
        ad_category=each[None],
        position=zeros[None],
        hour=np.array([12.0]),
        propensity=np.array([0.0]),
    )


def limits(name: str, seed: int, users: int | None, held_out: ExampleSet) -> dict[str, float]:
    """Truth-weighted AUC of who knows the truth, and of who knows all of it but how categories are related.

    The latter ranks by the probabilities of the same users, requests and ads in a world without relations.

    Raises:
        ValueError: the examples are of another world.
    """
    apart = build_world(replace(world_config(name, users), related=0.0), seed)
    known, truth = log_examples(apart.behaviours, apart.log, "holdout"), held_out.p_true
    if truth is None or known.p_true is None or not np.array_equal(known.ad, held_out.ad):
        raise ValueError(
            f"{name}:{seed} without relations shows other ads than the examples given, expected the same. "
            "Pass the held-out examples of this very world."
        )
    return {"most": truth_weighted_auc(truth, truth), "most_apart": truth_weighted_auc(known.p_true, truth)}
