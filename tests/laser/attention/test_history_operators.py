"""The operators of the papers' models: fast forms against plain ones, and what they promise."""

from __future__ import annotations

import pytest
import torch
from ranking_batches import config, random_batch
from test_attention_twins import assert_same_outputs_and_gradients, leaf, mask
from torch import Tensor
from torch.nn.functional import silu

from laser.attention.candidates import softmax_candidates, softmax_history, softmax_plain, visible
from laser.attention.quantised import cache, nearest, read_cached, read_exactly, spread
from laser.attention.quasi_linear import (
    quasi_linear,
    quasi_linear_candidates,
    quasi_linear_plain,
    summary_matrix,
)
from laser.attention.retrieval import gather, highest, highest_of_heads, newest_matching
from laser.attention.shared import read_absorbed, read_with_keys
from laser.batch import RankingBatch
from laser.models import build_model
from laser.models.hstu import Hstu
from laser.models.vista import Vista, dequantised, quantised

B, C, L, A, K = 3, 4, 20, 2, 5


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


def test_reading_without_keys_equals_reading_with_keys_and_values() -> None:
    real, width = mask([20, 13, 0], L), 6
    query, history = leaf(B, C, A, K), leaf(B, L, width)
    key, value = leaf(A, width, K), leaf(A, width, K)
    absorbed = read_absorbed(torch.einsum("bcak,aek->bcae", query, key), history, real)
    fast = torch.einsum("bcae,aev->bcav", absorbed, value)
    keys, values = (torch.einsum("ble,aek->blak", history, m) for m in (key, value))
    plain = read_with_keys(query, keys, values, real)
    assert_same_outputs_and_gradients(fast, plain, [query, history, key, value])


def test_history_and_candidates_apart_equal_one_masked_attention() -> None:
    real = mask([20, 13, 1], L)
    query, key, value = (leaf(B, A, L + C, K) for _ in range(3))
    plain = softmax_plain(query, key, value, real, C)
    of_history = softmax_history(query[:, :, :L], key[:, :, :L], value[:, :, :L], real)
    of_candidates = softmax_candidates(
        query[:, :, L:], key[:, :, L:], value[:, :, L:], key[:, :, :L], value[:, :, :L], real
    )
    shown = real[:, None, :, None]
    assert_same_outputs_and_gradients(
        torch.cat([of_history * shown, of_candidates], dim=2),
        torch.cat([plain[:, :, :L] * shown, plain[:, :, L:]], dim=2),
        [query, key, value],
    )


def test_a_candidate_sees_the_history_and_itself_and_nothing_sees_a_candidate() -> None:
    seen = visible(mask([3, 2], 3), 2, causal=True)
    assert seen[1].int().tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 0, 1],
    ]


def hstu_plain(model: Hstu, batch: RankingBatch) -> Tensor:
    """HSTU as drawn: every unit over [history ; candidates] with one mask and one table of distances."""
    history, rows = model.history(batch, model.category.weight)
    real, length, count = rows > 0, rows.shape[1], batch.candidates
    tokens = torch.cat([model.positions(history), model.candidate(model.category(batch.ad_category))], dim=1)
    share = visible(real, count, causal=True) / (real.sum(dim=1) + 1).view(-1, 1, 1)
    age = torch.nn.functional.pad(batch.align(batch.age_s), (0, count))
    following = torch.cat([age[:, 1:], torch.zeros(len(age), 1)], dim=1)
    apart_s = (age.unsqueeze(1) - following.unsqueeze(2)).abs().clamp(min=1.0)
    place = torch.arange(length + count).clamp(max=length)
    for unit in model.layers:
        mixed = unit.project(unit.norm(tokens))
        u, v, q, k = torch.split(silu(mixed) if model.research else mixed, unit.parts, dim=2)
        scores = torch.einsum(
            "bnak,bmak->banm",
            *(x.unflatten(2, (unit.heads, -1)) for x in (q, k)),  # type: ignore[no-untyped-call]
        )
        if model.research:
            distance = (place.unsqueeze(1) - place).clamp(min=0, max=len(unit.of_position) - 1)
            bucket = (apart_s.log() / 0.301).long().clamp(max=127)
            scores = scores + (unit.of_position[distance] + unit.of_time[bucket]).unsqueeze(1)
        else:
            u, scores = silu(u), scores * (q.shape[2] // unit.heads) ** -0.5
        weights = silu(scores + unit.bias.view(1, -1, 1, 1)) * share.unsqueeze(1)
        values = v.unflatten(2, (unit.heads, -1))  # type: ignore[no-untyped-call]
        read = torch.einsum("banm,bmav->bnav", weights, values).flatten(2)
        gated = unit.inner_norm(read) * u
        tokens = tokens + unit.out(gated if model.research else torch.cat([u, read, gated], dim=2))
    return model.norm(tokens[:, length:])  # type: ignore[no-any-return]


@pytest.mark.parametrize("options", [{}, {"variant": "production"}, {"layers": 1, "all_rows": True}])
def test_hstu_with_candidates_apart_equals_one_masked_sequence(options: dict[str, object]) -> None:
    model = build_model(config("hstu", **options), seed=1)
    assert isinstance(model, Hstu)
    batch = random_batch([40, 7, 1])
    fast, plain = model.attend(batch, model.category(batch.ad_category)), hstu_plain(model, batch)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
    direction = torch.randn_like(plain)
    leaves = [w for name, w in model.named_parameters() if name.startswith("layers.")]
    both = [torch.autograd.grad(x, leaves, direction, allow_unused=True) for x in (fast, plain)]
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("chunk", [0, 1, 7, 20])
def test_quasi_linear_attention_in_chunks_equals_the_formula(chunk: int) -> None:
    real = mask([20, 13, 0], L)
    query, key, value = leaf(B, A, C, K), leaf(B, A, L, K), leaf(B, A, L, K)
    assert_same_outputs_and_gradients(
        quasi_linear(query, key, value, real, chunk),
        quasi_linear_plain(query, key, value, real),
        [query, key, value],
    )


def test_quasi_linear_candidates_read_the_sequence_and_themselves() -> None:
    real = mask([20, 13, 0], L)
    key, value = leaf(B, A, L, K), leaf(B, A, L, K)
    query, own_key, own_value = leaf(B, A, C, K), leaf(B, A, C, K), leaf(B, A, C, K)
    # As published: row by row, Delta the diagonal of phi(Q) phi(K)^T among the candidates.
    among = torch.matmul(silu(query), silu(own_key).transpose(2, 3)) * torch.eye(C, dtype=torch.float64)
    plain = quasi_linear_plain(query, key, value, real) + torch.matmul(among, own_value)
    fast = quasi_linear_candidates(query, own_key, own_value, summary_matrix(key, value, real))
    assert_same_outputs_and_gradients(fast, plain, [query, own_key, own_value, key, value])


def test_vistas_quasi_linear_reading_is_the_layer_over_the_summary_with_the_candidates_own_part() -> None:
    model = build_model(config("vista", seeds=4, target_attention="quasi-linear"), seed=1).double()
    assert isinstance(model, Vista)
    (layer,) = model.reading
    summary, target = torch.randn(2, 4, 16).double(), torch.randn(2, 3, 8).double()
    candidates = model.candidate(target)
    own, of_summary = layer.norm(candidates), layer.norm(summary)
    expected = torch.zeros_like(candidates)
    for b in range(2):
        matrix = silu(silu(layer.key(of_summary[b])).T @ layer.value(of_summary[b]) / 4)
        for c in range(3):
            query, key, value = (f(own[b, c]) for f in (layer.query, layer.key, layer.value))
            x = candidates[b, c] + layer.out(silu(query) @ matrix + silu(query) @ silu(key) * value)
            fed = layer.feed_norm(x)
            expected[b, c] = model.norm(x + layer.three(layer.one(fed) * layer.two(fed)))
    torch.testing.assert_close(model.read(summary, target), expected)


def test_quasi_linear_attention_does_not_grow_with_the_length() -> None:
    query, key = torch.randn(1, 1, 1, K), torch.randn(1, 1, 1, K)
    one, many = (
        quasi_linear(
            query, key.expand(-1, -1, n, -1), silu(key).expand(-1, -1, n, -1), torch.ones(1, n).bool()
        )
        for n in (1, 500)
    )
    torch.testing.assert_close(one, many)


def quantised_reading(lengths: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    groups, codes = 2, 8
    query, table = leaf(B, C, groups, A, K), leaf(groups, codes, K)
    keys, values = leaf(B, groups, L, K), leaf(B, L, K)
    ages = torch.rand(B, groups, L, dtype=torch.float64) * 5
    return query, table, keys, values, torch.exp(-ages) * mask(lengths, L).unsqueeze(1)


@pytest.mark.parametrize("sinks", [False, True])
def test_the_cache_of_codes_gives_exactly_what_reading_every_behaviour_gives(sinks: bool) -> None:
    sink = leaf(2, A) if sinks else None
    query, table, keys, values, kernel = quantised_reading([20, 13, 0])
    code = nearest(keys, table)
    chosen = table[torch.arange(2).view(1, 2, 1), code]
    plain = read_exactly(query, chosen, values, kernel, sink)
    fast = read_cached(query, table, *cache(values, code, kernel, table.shape[1]), sink)
    leaves = [query, table, values]
    assert_same_outputs_and_gradients(fast, plain, leaves if sink is None else [*leaves, sink])
    assert (plain[2] == 0).all()


def test_a_sink_is_one_more_behaviour_that_says_nothing() -> None:
    query, _, keys, values, kernel = quantised_reading([20, 13, 0])
    real = (kernel > 0).double()
    sink = torch.full((2, A), 0.7, dtype=torch.float64)
    powers = torch.exp(torch.einsum("bcgak,bglk->bcgal", query, keys)) * real[:, None, :, None]
    shares = powers / (powers.sum(dim=4, keepdim=True) + torch.exp(sink).unsqueeze(2))
    expected = torch.einsum("bcgal,blv->bcgav", shares, values)
    torch.testing.assert_close(read_exactly(query, keys, values, real, sink), expected)


def test_codes_spread_over_the_keys_so_that_few_keys_are_coded_exactly() -> None:
    keys = torch.randn(5, 3).repeat_interleave(4, dim=0)
    for codes in (spread(keys, 5), spread(keys, 8)):
        assert torch.cdist(keys, codes).min(dim=1).values.max() < 1e-6
    many = torch.randn(300, 3)
    far = [torch.cdist(many, spread(many, n)).min(dim=1).values.square().mean() for n in (1, 8, 64)]
    assert far[0] > 2 * far[1] > 4 * far[2]


def test_the_nearest_code_is_the_nearest() -> None:
    _, table, keys, _, _ = quantised_reading([20, 20, 20])
    distance = (keys.unsqueeze(3) - table[None, :, None]).square().sum(dim=4)
    assert torch.equal(nearest(keys, table), distance.argmin(dim=3))


def test_the_error_of_quantised_keys_is_bounded_whatever_the_length() -> None:
    """A score off by at most e changes the weights by at most exp(2e) - 1 in sum (VQL's bound)."""
    for length in (10, 1000):
        query = torch.randn(1, 1, 1, 1, K, dtype=torch.float64)
        keys = torch.randn(1, 1, length, K, dtype=torch.float64)
        table = torch.randn(1, 32, K, dtype=torch.float64)
        chosen = table[0][nearest(keys, table)]
        ones = torch.ones(1, 1, length, dtype=torch.float64)
        each = torch.eye(length, dtype=torch.float64).unsqueeze(0)
        exact, coded = (read_exactly(query, k, each, ones) for k in (keys, chosen))
        error = torch.einsum("bcgak,bglk->bcgal", query, keys - chosen).abs().max()
        assert (exact - coded).abs().sum() <= torch.expm1(2 * error)


def test_heads_take_turns_in_the_search_until_k_distinct_behaviours_are_found() -> None:
    scores = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0], [5.0, 1.0, 2.0, 4.0, 3.0]]).view(1, 1, 2, 5)
    places, kept = highest_of_heads(scores, torch.ones(1, 5).bool(), 4)
    # Head 0: 0, 1, 2, 3, 4; head 1: 0, 3, 4, 2, 1. In turn: 0, (0), 1, 3, 2, (4).
    assert places.tolist() == [[[0, 1, 3, 2]]]
    assert kept.all()
    places, kept = highest_of_heads(scores, torch.tensor([[True, False, False, True, False]]), 4)
    assert sorted(places[kept].tolist()) == [0, 3]


def test_searches_keep_what_matches_and_nothing_of_the_padding() -> None:
    real = mask([5, 2], 5)
    scores = torch.tensor([[[1.0, 9.0, 3.0, 7.0, 5.0]]]).expand(2, 1, 5)
    places, kept = highest(scores, real, 3)
    assert places[0].tolist() == [[1, 3, 4]]
    assert sorted(places[1][kept[1]].tolist()) == [3, 4]
    match = torch.tensor([[[True, False, True, True, False]]])
    places, kept = newest_matching(match, 2)
    assert places.tolist() == [[[3, 2]]]
    assert not newest_matching(torch.zeros_like(match), 2)[1].any()
    history = torch.arange(10.0).view(1, 5, 2)
    assert gather(history, places).tolist() == [[[[6.0, 7.0], [4.0, 5.0]]]]


def test_a_kept_summary_scores_as_a_fresh_one_and_int8_stays_within_half_a_step() -> None:
    model = build_model(config("vista", seeds=6), seed=1).eval()
    assert isinstance(model, Vista)
    batch = random_batch([40, 3, 0])
    target = model.category(batch.ad_category)
    with torch.inference_mode():
        summary = model.summarise(batch)
        assert torch.equal(model.read(summary, target), model.attend(batch, target))
        codes, scale = quantised(summary)
        assert codes.dtype == torch.int8
        assert ((dequantised(codes, scale) - summary).abs() <= scale * 0.5001).all()


def test_a_summary_is_as_old_as_the_last_refresh() -> None:
    two_hourly = build_model(config("vista", seeds=6, refresh_s=7200.0), seed=1).eval()
    at_once = build_model(config("vista", seeds=6), seed=1).eval()
    batch = random_batch([40], hour=[5.5])  # the last refresh was at 4, 1.5 hours before
    with torch.inference_mode():
        stale = at_once.summarise(batch.older(torch.tensor([5400.0])))  # type: ignore[operator]
        assert torch.equal(two_hourly.summarise(batch), stale)  # type: ignore[operator]
        assert not torch.equal(at_once.summarise(batch), stale)  # type: ignore[operator]


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_a_summary_made_in_chunks_scores_as_one_made_at_once(chunk: int) -> None:
    batch = random_batch([40, 7, 0])
    at_once, chunked = (build_model(config("vista", seeds=6, layers=2, chunk=n), seed=1) for n in (0, chunk))
    one, other = (model.train()(batch) for model in (at_once, chunked))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    both = [torch.autograd.grad(x.sum(), model.seeds)[0] for x, model in ((one, at_once), (other, chunked))]
    torch.testing.assert_close(*both, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("candidates", [2, 60])
def test_both_orders_of_stca_give_the_same_scores(candidates: int) -> None:
    batch = random_batch([40, 7, 0], candidates=candidates)
    forms = ("absorbed", "keys", "auto")
    orders = [build_model(config("stca", heads=2, order=form), seed=1).eval() for form in forms]
    with torch.inference_mode():
        one, other, chosen = (model(batch) for model in orders)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert torch.equal(chosen, other if candidates == 60 else one)


def test_cached_and_exact_vql_give_the_same_scores() -> None:
    batch = random_batch([40, 7, 0])
    models = [build_model(config("vql", form=form), seed=1).eval() for form in ("cached", "exact")]
    with torch.inference_mode():
        cached, exact = (model(batch) for model in models)
    torch.testing.assert_close(cached, exact, rtol=1e-5, atol=1e-5)
