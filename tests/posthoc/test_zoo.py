"""The zoo against pytorch-ood by rank, against facts of two-class heads, and on what must be found strange."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from dfd.core.bank import FeatureBank, Fitted, Head
from dfd.core.errors import DfdError
from dfd.metrics.ranking import roc_auc
from dfd.posthoc.distances import kth_largest
from dfd.posthoc.zoo import ZOO, detectors, fit, score, why_not

N, D = 600, 24
EXTRAS = {"odin": 3, "mc_dropout": 5, "ensemble": 4}

TELLING = ("msp", "max_logit", "energy", "entropy", "gen", "mahalanobis", "pictures", "knn", "vim", "residual", "fdbd")


def bank_of(features, label, head, seed=0):
    logits = features @ head.weight.T + head.bias
    draw = np.random.default_rng(seed)
    extra = {
        name: logits[:, None] + draw.normal(0, 0.1, (len(logits), m, logits.shape[1])) for name, m in EXTRAS.items()
    }
    away = np.linalg.norm(features, axis=1)
    extra |= {"reconstruction": away, "confidence": -away, "abnormality": away, "pictures": features}
    rows = np.arange(len(features))
    return FeatureBank(
        logits.astype(np.float32), features.astype(np.float32), label, rows.astype(str), np.full(len(rows), "a"),
        rows.astype(str), np.zeros(len(rows)), extra,
    )  # fmt: skip


def world(classes=3, seed=0):
    """Non-negative features around class centres, the head of nearest centres, and features from elsewhere."""
    draw = np.random.default_rng(seed)
    centres = np.abs(draw.normal(0, 2, (classes, D)))
    head = Head((centres - centres.mean(0)) * 0.5, draw.normal(0, 0.1, classes))
    mix = np.linalg.qr(draw.normal(size=(D, D)))[0] * np.linspace(0.2, 1.2, D)
    label = draw.integers(0, classes, N)
    inside = np.abs(centres[label] + draw.normal(size=(N, D)) @ mix)
    outside = np.abs(draw.normal(0.3 * centres.mean(0), 1.2, (N, D)))
    return bank_of(inside, label, head), bank_of(outside, np.zeros(N, int), head), head


def oracle(name, head):
    """Return pytorch-ood's detector, not fitted yet."""
    d = pytest.importorskip("pytorch_ood.detector")
    w, b = (torch.tensor(part, dtype=torch.float32) for part in head)
    linear = torch.nn.Linear(D, len(b))
    linear.weight.data, linear.bias.data = w, b
    maps = {"backbone": torch.nn.Identity(), "head": torch.nn.Sequential(torch.nn.Flatten(), linear)}
    return {
        "msp": lambda: d.MaxSoftmax(None),
        "max_logit": lambda: d.MaxLogit(None),
        "energy": lambda: d.EnergyBased(None),
        "entropy": lambda: d.Entropy(None),
        "gen": lambda: d.GEN(None),
        "klm": lambda: d.KLMatching(None),
        "mahalanobis": lambda: d.Mahalanobis(None),
        "relative_mahalanobis": lambda: d.RMD(None),
        "knn": lambda: d.KNN(None, k=50),
        "vim": lambda: d.ViM(None, D // 2, w, b),
        "dice": lambda: d.DICE(None, w, b, 0.7),
        "fdbd": lambda: d.fDBD(None, linear),
        "she": lambda: d.SHE(None, linear),
        "react": lambda: d.ReAct(**maps, percentile=0.9),
        "ash": lambda: d.ASH(**maps, percentile=0.65),
        "scale": lambda: d.SCALE(**maps, percentile=0.65),
        "grad_norm": lambda: d.GradNorm(linear),
    }[name]()


LOGITS = ("msp", "max_logit", "energy", "entropy", "gen", "klm")
MAPS = ("react", "ash", "scale")


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", [
    *LOGITS, "mahalanobis", "relative_mahalanobis", "knn", "vim", "dice", "fdbd", "she", *MAPS, "grad_norm",
])  # fmt: skip
def test_parity_with_pytorch_ood_by_rank(name, classes):
    train, test, head = world(classes)
    theirs = oracle(name, head)
    label = torch.from_numpy(train.label)
    kind = "logits" if name in LOGITS else "feature_maps" if name in MAPS else "features"
    known, values = (torch.from_numpy(bank.logits if kind == "logits" else bank.features) for bank in (train, test))
    if kind == "feature_maps":
        known, values = known[:, :, None, None], values[:, :, None, None]
    if name == "grad_norm":
        expected = theirs.predict(values)
    else:
        if theirs.requires_fit:
            getattr(theirs, f"fit_{kind}")(known, label)
        expected = getattr(theirs, f"predict_{kind}")(values)
    ours = score(fit(name, train, head), test)
    rank = spearmanr(ours, expected.detach().numpy()).statistic
    assert rank > 0.999, rank


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_two_class_heads_have_one_ranking_for_msp_entropy_and_gen(seed):
    draw = np.random.default_rng(seed)
    head = Head(draw.normal(size=(2, 5)), draw.normal(size=2))
    bank = bank_of(draw.normal(0, draw.uniform(0.1, 8), (60, 5)), np.zeros(60, int), head)
    ranks = [rankdata(np.round(score(fit(name, bank, head), bank), 12)) for name in ("msp", "entropy", "gen")]
    margin = np.round(np.abs(bank.logits[:, 0].astype(float) - bank.logits[:, 1]), 5)
    if len(np.unique(margin)) == 60 and margin.max() < 25:
        np.testing.assert_array_equal(ranks[0], rankdata(-margin))
        np.testing.assert_array_equal(ranks[1], ranks[0])
        np.testing.assert_array_equal(ranks[2], ranks[0])


@pytest.mark.parametrize("name", ZOO)
def test_every_detector_runs_and_scores_grow_with_strangeness(name):
    train, outside, head = world()
    fitted = fit(name, train, head)
    inside = score(fitted, train)
    assert inside.shape == (N,)
    assert np.isfinite(inside).all()
    auc = roc_auc(np.repeat([0, 1], N), np.concatenate([inside, score(fitted, outside)]))
    if name in TELLING:
        assert auc > 0.8


@pytest.mark.parametrize("name", ["mahalanobis", "knn", "vim", "react", "odin", "dice"])
def test_a_fitted_detector_comes_back_from_its_file(tmp_path, name):
    train, outside, head = world()
    fitted = fit(name, train, head, tune=(train, outside))
    fitted.write(tmp_path / "d.npz")
    again = Fitted.read(tmp_path / "d.npz")
    assert dict(again.options) == dict(fitted.options)
    np.testing.assert_array_equal(score(again, outside), score(fitted, outside))


def test_tuning_takes_the_option_that_tells_most_apart():
    train, outside, head = world()
    tuned = fit("knn", train, head, tune=(train, outside))
    aucs = {}
    for k in ZOO["knn"].score_grid["k"]:
        fixed = Fitted("knn", {"limit": 100, "k": k}, tuned.state, head)
        aucs[k] = roc_auc(np.repeat([0, 1], N), np.concatenate([score(fixed, train), score(fixed, outside)]))
    assert aucs[tuned.options["k"]] == max(aucs.values())


def test_what_cannot_be_used_says_why():
    train, _, head = world()
    assert why_not("ash", train, head) is None
    shifted = bank_of(train.features - 3, train.label, head)
    assert "never negative" in why_not("ash", shifted, head)
    assert why_not("vim", train, None) == "the network's last layer is not linear"
    assert "model=abnormality" in why_not("abnormality", FeatureBank(*list(vars(train).values())[:7]), head)
    with pytest.raises(DfdError, match="did you mean 'mahalanobis'"):
        detectors(["mahalonobis"])


@given(st.integers(1, 9), st.integers(0, 500), st.integers(200, 1500))
@settings(max_examples=30, deadline=None)
def test_the_kth_largest(k, seed, width):
    values = np.random.default_rng(seed).integers(0, 40, (3, width)).astype(np.float32)
    expected = np.sort(values, 1)[:, -k]
    np.testing.assert_array_equal(kth_largest(values, k, block=8), expected)


def test_a_bank_comes_back_from_its_file(tmp_path):
    bank, _, _ = world()
    bank.write(tmp_path / "bank.npz")
    again = FeatureBank.read(tmp_path / "bank.npz")
    np.testing.assert_array_equal(again.features, bank.features)
    assert again.extra.keys() == bank.extra.keys()
    assert again.take(np.arange(5)).video.tolist() == list("01234")


@pytest.mark.parametrize("name", ["MaxSoftmax", "NNGuide", "ViM", "Mahalanobis", "NCI"])
def test_detectors_of_pytorch_ood_stand_in_the_list(tmp_path, name):
    pytest.importorskip("pytorch_ood")
    train, outside, head = world()
    name = f"pytorch_ood.{name}"
    assert detectors([name, "knn"]) == [name, "knn"]
    fitted = fit(name, train, head, tune=(train, outside))
    scores = score(fitted, outside)
    assert scores.shape == (N,)
    fitted.write(tmp_path / "d.npz")
    np.testing.assert_allclose(score(Fitted.read(tmp_path / "d.npz"), outside), scores, rtol=1e-5)


def test_what_pytorch_ood_cannot_do_is_named():
    pytest.importorskip("pytorch_ood")
    with pytest.raises(DfdError, match="did you mean 'NNGuide'"):
        detectors(["pytorch_ood.NNGuid"])
    with pytest.raises(DfdError, match="needs more than logits or features"):
        detectors(["pytorch_ood.RankFeat"])


def deep_features(seed, count, spread=1.0, width=128):
    """Features as deep networks have them: variances over nine orders of magnitude, two classes in three directions."""
    basis = np.linalg.qr(np.random.default_rng(99).normal(size=(width, width)))[0]
    random, label = np.random.default_rng(seed), np.arange(count) % 2
    values = random.normal(size=(count, width)) * np.sqrt(spread * 10.0 ** -np.linspace(0, 9, width))
    values[:, :3] += 3 * label[:, None]
    return (values @ basis.T + 1).astype(np.float32), label


def bank_without_logits(features, label):
    nothing = np.zeros((len(features), 2), np.float32)
    names = np.arange(len(features)).astype(str)
    return FeatureBank(nothing, features, label, names, np.full(len(features), "s"), names, np.zeros(len(features)))


def test_the_relative_mahalanobis_distance_ranks_as_the_exact_one():
    """Ren et al. 2021: the distance from the nearest class less that from all, by inverses in double precision."""
    known, label = deep_features(0, 3000)
    seen = np.concatenate([deep_features(1, 500)[0], deep_features(2, 500, spread=3.0)[0]])
    fitted = fit("relative_mahalanobis", bank_without_logits(known, label), Head(np.zeros((2, 128)), np.zeros(2)))
    ours = score(fitted, bank_without_logits(seen, np.zeros(len(seen), int)))
    x, z = known.astype(float), seen.astype(float)
    means = [x[label == k].mean(0) for k in (0, 1)]
    within = sum((x[label == k] - means[k]).T @ (x[label == k] - means[k]) for k in (0, 1)) / len(x)
    around = x - x.mean(0)

    def squared(centre, covariance):
        return np.einsum("ni,ij,nj->n", z - centre, np.linalg.inv(covariance), z - centre)

    exact = np.min([squared(mean, within) for mean in means], 0) - squared(x.mean(0), around.T @ around / len(x))
    assert spearmanr(ours, exact).statistic > 0.95
