"""The metrics among torchmetrics' own and in real Trainers."""

import copy
import math
import pickle
import re
import warnings
from fractions import Fraction

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy
from torchmetrics.regression import MeanSquaredError
from torchmetrics.wrappers import MetricTracker, MinMaxMetric

from lightning_energy.scores.functional import energy_penalized_accuracy, sustainable_accuracy
from lightning_energy.scores.metrics import EnergyPenalizedAccuracy, EnergyScore, SustainableAccuracy, energy_scores

mpl.use("Agg")

PREDS = torch.tensor([1, 1, 1, 1, 0])
TARGET = torch.tensor([1, 1, 1, 1, 1])  # accuracy 0.8


def penalized(**settings):
    return EnergyPenalizedAccuracy(BinaryAccuracy(), **settings)


def sustainable(**settings):
    return SustainableAccuracy(BinaryAccuracy(), **settings)


@pytest.mark.parametrize(
    ("score", "energy_kwh", "expected"),
    [
        (penalized(), 9.0, 0.8192),
        (penalized(reference_kwh=0.5, beta=10), 4.5, 1.6384),
        (sustainable(), 10.0, 1.6384),
    ],
)
def test_energy_by_hand_adds_up_over_updates(score, energy_kwh, expected):
    score.reset()
    for _ in range(3):
        score.update(PREDS, TARGET, energy_kwh=energy_kwh / 3)
    assert score.compute() == pytest.approx(expected)
    assert score.energy_j == pytest.approx(energy_kwh * 3.6e6)


def test_a_set_energy_replaces_what_was_given_before():
    score = penalized()
    score.set_energy(1e6)
    score.set_energy(9 * 3.6e6, u_j=5e4)
    score.update(PREDS, TARGET)
    assert score.compute() == pytest.approx(0.8192)
    assert score.energy_u_j == 5e4
    score.set_energy(0.0)
    assert score.compute() == pytest.approx(1.6384)
    assert score.energy_u_j is None


def test_accuracy_and_energy_are_reduced_before_they_are_scored():
    score = penalized()
    score.update(torch.tensor([1]), torch.tensor([1]), energy_kwh=1.0)
    score.update(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 1]), energy_kwh=2.0)
    assert score.compute() == pytest.approx(energy_penalized_accuracy(0.5, 3.0))


def test_unknown_energy_gives_nan_and_one_warning():
    score = penalized()
    score.update(PREDS, TARGET)
    with pytest.warns(UserWarning, match="no energy was given.*EnergyCallback.*set_energy") as caught:
        assert score.compute().isnan()
    assert len(caught) == 1
    score.update(PREDS, TARGET)
    assert score.compute().isnan()  # a second warning would be an error
    assert score.energy_j is None


def test_reset_forgets_accuracy_and_energy():
    score = penalized()
    score.update(1 - PREDS, TARGET)
    score.set_energy(1e6, u_j=1e3)
    score.reset()
    assert score.energy_j is None
    assert score.energy_u_j is None
    assert not score.update_called
    score.update(PREDS, TARGET, energy_kwh=9.0)
    assert score.compute() == pytest.approx(0.8192)


@pytest.mark.filterwarnings("ignore:SustainableAccuracy")
def test_the_published_score_has_no_value_at_1_kwh_or_less():
    for energy_kwh in (0.5, 1.0):
        score = sustainable()
        score.update(PREDS, TARGET, energy_kwh=energy_kwh)
        assert score.compute().isnan()
    score.update(PREDS, TARGET, energy_kwh=9.0)
    assert score.compute() == pytest.approx(1.6384)


def test_the_published_score_warns_once_or_raises_as_asked():
    score = sustainable()
    score.update(PREDS, TARGET, energy_kwh=0.5)
    with pytest.warns(UserWarning, match=r"0\.5 kWh were spent.*above 1 kWh only.*EnergyPenalizedAccuracy"):
        score.compute()
    score.update(PREDS, TARGET)
    score.compute()
    score = sustainable(on_invalid="raise")
    score.update(PREDS, TARGET, energy_kwh=0.5)
    with pytest.raises(ValueError, match="above 1 kWh only"):
        score.compute()


def test_forward_scores_the_batch_at_the_energy_so_far_and_keeps_the_total():
    score = penalized()
    first = score(PREDS, TARGET, energy_kwh=9.0)
    second = score(TARGET, TARGET, energy_kwh=90.0)
    assert first == pytest.approx(0.8192)
    assert second == pytest.approx(energy_penalized_accuracy(1.0, 99.0))
    assert score._forward_cache == second  # what Lightning logs with on_step=True
    assert score.compute() == pytest.approx(energy_penalized_accuracy(0.9, 99.0))
    assert penalized()(PREDS, TARGET).isnan()


def test_a_clone_and_an_unpickled_score_go_on_from_the_same_state():
    score = sustainable(alpha=2)
    score.update(PREDS, TARGET, energy_kwh=10.0)
    expected = score.compute()
    for other in (score.clone(), copy.deepcopy(score), pickle.loads(pickle.dumps(score))):
        assert other.compute() == expected
        other.update(PREDS, TARGET, energy_kwh=90.0)
        assert other.compute() == pytest.approx(sustainable_accuracy(0.8, 100.0, alpha=2))
    assert score.compute() == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "convert",
    [
        lambda s: s.to(torch.bfloat16),
        lambda s: s.bfloat16(),
        lambda s: s.half(),
        lambda s: s.set_dtype(torch.float16),
    ],
)
def test_joules_survive_low_precision(convert):
    """Above 128 J a float16 holds eighths of a joule."""
    score = convert(penalized())
    for _ in range(300):
        score.update(PREDS, TARGET, energy_kwh=0.7 / 3.6e6)
    assert score.energy_j == pytest.approx(210, abs=1e-3)


def test_the_largest_energy_and_more():
    score = penalized()
    score.set_energy(3.6e18)
    assert score.energy_j == 3.6e18
    with pytest.raises(ValueError, match=r"energy_j=3\.7e\+18.*at most 3\.6e18 J \(1e12 kWh\)"):
        score.set_energy(3.7e18)
    score.update(PREDS, TARGET, energy_kwh=1e12)
    assert score.compute() == pytest.approx(energy_penalized_accuracy(0.8, 2e12))
    score.update(PREDS, TARGET, energy_kwh=1e12)  # beyond all that is held: no score, not a wrong one
    score.update(PREDS, TARGET, energy_kwh=1.0)  # nor does a later update bring it back
    assert score.energy_j is None
    with pytest.warns(UserWarning, match=r"no energy was given \(on at least one rank\), or more than 2\.5e12 kWh"):
        assert score.compute().isnan()
    score.set_energy(9 * 3.6e6)
    assert score.compute() == pytest.approx(0.8192)


MOST_OF_INT64_KWH = 9.2e12 / 3.6e6  # as whole microjoules it just fits


@pytest.mark.parametrize("n", [2, 3, 4, 100])
def test_ranks_whose_sum_is_no_int64_any_more_are_scored_rightly(n):
    """Merged as torchmetrics reduces ranks: 3 x 9.2e12 J once came out as 9.1e12 J, with a plausible score."""
    ranks = [penalized() for _ in range(n)]
    for score in ranks:
        score.update(PREDS, TARGET, energy_kwh=MOST_OF_INT64_KWH)
    for score in ranks[1:]:
        ranks[0].merge_state(score)
    assert ranks[0].energy_j == n * 9.2e12
    assert float(ranks[0].compute()) == pytest.approx(energy_penalized_accuracy(0.8, n * MOST_OF_INT64_KWH), rel=1e-6)


@given(
    st.lists(
        st.lists(st.floats(0, 1e10) | st.floats(0, 1e-3) | st.just(MOST_OF_INT64_KWH), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_updates_and_ranks_add_up_to_the_microjoule(ranks):
    scores = [penalized() for _ in ranks]
    for score, energies_kwh in zip(scores, ranks, strict=True):
        for energy_kwh in energies_kwh:
            score.update(PREDS, TARGET, energy_kwh=energy_kwh)
    expected_uj = sum(round(kwh * 3.6e6 * 1_000_000) for energies_kwh in ranks for kwh in energies_kwh)
    for score in scores[1:]:
        scores[0].merge_state(score)
    assert scores[0].energy_j == expected_uj / 1_000_000
    expected = energy_penalized_accuracy(0.8, expected_uj / 3.6e12)
    assert float(scores[0].compute()) == pytest.approx(expected, rel=1e-6)


FORMS = [
    torch.tensor(9.0),
    torch.tensor([9.0]),
    torch.tensor([[9.0]], dtype=torch.float64),
    torch.tensor(9),
    torch.tensor(9, dtype=torch.uint8),
    torch.tensor(9.0, requires_grad=True),
    torch.tensor(4.5, requires_grad=True) * 2,
    torch.tensor(9.0, dtype=torch.bfloat16),
    torch.tensor(9.0, dtype=torch.float16),
    torch.nn.Parameter(torch.tensor(9.0)),
    np.float64(9.0),
    np.float32(9.0),
    np.float16(9.0),
    np.int64(9),
    np.uint8(9),
    np.array(9.0),
    np.array([9]),
    Fraction(9),
    9,
]


@pytest.mark.parametrize("energy", FORMS, ids=repr)
def test_one_number_in_whatever_form(energy):
    score = penalized()
    score.update(PREDS, TARGET, energy_kwh=energy)
    assert score.energy_j == 9 * 3.6e6
    assert score.compute() == pytest.approx(0.8192)
    assert not score.compute().requires_grad
    score.set_energy(energy, u_j=energy)
    assert (score.energy_j, score.energy_u_j) == (9.0, 9.0)
    assert type(score.energy_u_j) is float


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_numbers_of_low_precision_add_up(dtype):
    """400 x 0.25 kWh, which all of them know exactly; their sum in bfloat16 would stop at 64 kWh."""
    score = penalized()
    for _ in range(400):
        score.update(PREDS, TARGET, energy_kwh=torch.tensor(0.25, dtype=dtype))
    assert score.energy_j == 100 * 3.6e6


BAD = [
    (-1.0, ValueError),
    (math.nan, ValueError),
    (math.inf, ValueError),
    (1e300, ValueError),
    (10**400, ValueError),
    (True, TypeError),
    (np.True_, TypeError),
    ("1", TypeError),
    ([1.0], TypeError),
    ((1.0,), TypeError),
    (1j, TypeError),
    (np.array([1.0, 2.0]), TypeError),
    (np.array("1"), TypeError),
    (torch.tensor(-1.0), ValueError),
    (torch.tensor(math.nan), ValueError),
    (torch.tensor(math.inf, dtype=torch.bfloat16), ValueError),
    (torch.tensor([True]), TypeError),
    (torch.tensor(1j), TypeError),
    (torch.tensor([1.0, 2.0]), TypeError),
    (torch.tensor([]), TypeError),
    (torch.empty((), device="meta"), TypeError),
    (np.float32(-1), ValueError),
]


@pytest.mark.parametrize(("energy", "error"), BAD, ids=lambda given: repr(given)[:30])
def test_nonsense_energy_is_refused_and_changes_nothing(energy, error):
    score = penalized()
    with pytest.raises(error, match=rf"energy_kwh={re.escape(repr(energy))}: give a"):
        score.update(PREDS, TARGET, energy_kwh=energy)
    with pytest.raises(error, match=rf"energy_j={re.escape(repr(energy))}: give a"):
        score.set_energy(energy)
    with pytest.raises(error, match=rf"u_j={re.escape(repr(energy))}: give a"):
        score.set_energy(1.0, u_j=energy)
    with pytest.raises(error, match="energy_kwh="):
        score(PREDS, TARGET, energy_kwh=energy)
    assert score.energy_j is None
    assert not score.update_called


def test_only_one_fraction_can_be_scored():
    for wrong in (lambda p, t: 0.5, MetricCollection([BinaryAccuracy()]), penalized()):
        with pytest.raises(TypeError, match="give a torchmetrics Metric"):
            EnergyPenalizedAccuracy(wrong)
    score = EnergyPenalizedAccuracy(MulticlassAccuracy(num_classes=3, average=None))
    score.update(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2]), energy_kwh=1.0)
    with pytest.raises(ValueError, match=r"shape \(3,\).*average='macro'"):
        score.compute()
    score = EnergyPenalizedAccuracy(MeanSquaredError())
    score.update(torch.tensor([3.0]), torch.tensor([1.0]), energy_kwh=1.0)
    with pytest.raises(ValueError, match=r"MeanSquaredError gave 4\.0.*metric of accuracy"):
        score.compute()
    score = EnergyPenalizedAccuracy(MinMaxMetric(BinaryAccuracy()))
    score.update(PREDS, TARGET, energy_kwh=1.0)
    with pytest.raises(ValueError, match="needs one accuracy"):
        score.compute()


def test_constants_are_checked_and_shown():
    with pytest.raises(ValueError, match="alpha=0"):
        penalized(alpha=0)
    with pytest.raises(ValueError, match="on_invalid='zero'"):
        sustainable(on_invalid="zero")
    with pytest.raises(ValueError, match="reference_kw"):
        penalized(reference_kw=1)
    assert "reference_kwh=0.1" in repr(penalized(reference_kwh=0.1))


def test_a_collection_never_merges_scores():
    collection = MetricCollection(
        {
            "accuracy": BinaryAccuracy(),
            "a": penalized(),
            "b": penalized(beta=10),
            "c": sustainable(),
            "d": penalized(),
        }
    )
    for _ in range(3):
        collection.update(PREDS, TARGET, energy_kwh=3.0)
    assert sorted(map(len, collection.compute_groups.values())) == [1] * 5
    collection["d"].set_energy(0.0)
    values = {name: round(float(value), 4) for name, value in collection.compute().items()}
    expected_c = round(sustainable_accuracy(0.8, 9.0), 4)
    assert values == {"accuracy": 0.8, "a": 0.8192, "b": 1.6384, "c": expected_c, "d": 1.6384}
    collection.reset()
    assert collection(PREDS, TARGET, energy_kwh=9.0)["a"] == pytest.approx(0.8192)
    assert collection.clone(prefix="val_")["val_a"].energy_j == pytest.approx(9 * 3.6e6)


def test_one_accuracy_may_serve_two_scores_and_itself():
    accuracy = BinaryAccuracy()
    collection = MetricCollection(
        {"accuracy": accuracy, "a": EnergyPenalizedAccuracy(accuracy), "b": SustainableAccuracy(accuracy)}
    )
    collection.update(PREDS, TARGET, energy_kwh=5.0)
    collection.update(TARGET, TARGET, energy_kwh=5.0)
    values = collection.compute()
    assert values["accuracy"] == pytest.approx(0.9)
    assert values["a"] == pytest.approx(energy_penalized_accuracy(0.9, 10.0))
    assert values["b"] == pytest.approx(sustainable_accuracy(0.9, 10.0))


class NeverWaits(TorchDispatchMode):
    """Fails where the host asks a tensor for its value, which on a GPU waits for the queue."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(func), "the host waited for a tensor"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [EnergyPenalizedAccuracy, SustainableAccuracy])
def test_a_step_does_not_wait_for_the_device(kind):
    score = kind(MulticlassAccuracy(num_classes=2, average="micro", validate_args=False))
    with NeverWaits():
        score.set_energy(1e6)
        score.update(PREDS, TARGET, energy_kwh=2.0)
        value = score(PREDS, TARGET)
        with pytest.raises(AssertionError, match="host waited"):
            float(value)
    assert value == pytest.approx(float(score.compute()))


def test_keywords_reach_those_who_take_them():
    score = EnergyPenalizedAccuracy(MeanMetric())
    score.update(0.5, weight=1.0, energy_kwh=0.0)
    score.update(1.0, weight=3.0)
    assert score.compute() == pytest.approx(energy_penalized_accuracy(0.875, 0.0))


def test_merging_two_scores_adds_counts_and_energy():
    one, other = penalized(), penalized()
    one.update(PREDS, TARGET, energy_kwh=4.0)
    other.update(TARGET, TARGET, energy_kwh=5.0)
    one.merge_state(other)
    assert one.compute() == pytest.approx(energy_penalized_accuracy(0.9, 9.0))
    one.merge_state(penalized())  # of unknown energy
    assert one.energy_j is None
    with pytest.raises(TypeError, match="give a EnergyPenalizedAccuracy"):
        one.merge_state(sustainable())


def test_a_tracker_keeps_the_energy_of_each_step_and_knows_the_better():
    tracker = MetricTracker(penalized())
    for energy_j in (1e6, 5e6):
        tracker.increment()
        (live,) = energy_scores(tracker)
        live.set_energy(energy_j)
        tracker.update(PREDS, TARGET)
    assert [tracker[i].energy_j for i in (1, 2)] == [1e6, 5e6]
    best, step = tracker.best_metric(return_step=True)
    assert (step, best) == (0, pytest.approx(energy_penalized_accuracy(0.8, 1e6 / 3.6e6)))


def test_a_float64_accuracy_gives_a_float64_score():
    score = EnergyPenalizedAccuracy(MeanMetric().set_dtype(torch.float64))
    score.update(torch.tensor(0.8, dtype=torch.float64), energy_kwh=9.0)
    assert score.compute().dtype == torch.float64
    assert float(score.compute()) == pytest.approx(0.8192, abs=1e-15)


def test_a_score_made_under_inference_mode_works_outside():
    score = penalized()
    with torch.inference_mode():
        score.update(PREDS, TARGET, energy_kwh=1.0)
        score.reset()
        score.update(PREDS, TARGET, energy_kwh=4.0)
    score.update(PREDS, TARGET, energy_kwh=5.0)
    assert score.compute() == pytest.approx(0.8192)


def test_plot_draws_one_value_or_a_series():
    score = penalized()
    values = [score(PREDS, TARGET, energy_kwh=1.0) for _ in range(3)]
    figure, axis = score.plot()
    assert figure is not None
    assert axis.get_ylabel() == "EnergyPenalizedAccuracy"
    _, axis = score.plot(values)
    assert [round(float(y), 4) for y in axis.lines[0].get_ydata()] == [round(float(v), 4) for v in values]
    mpl.pyplot.close("all")


def test_nothing_is_saved_unless_asked():
    score = penalized()
    score.update(PREDS, TARGET, energy_kwh=9.0)
    assert score.state_dict() == {}
    score.persistent(mode=True)
    restored = penalized()
    restored.load_state_dict(score.state_dict())
    restored.accuracy._update_count = 1
    assert restored.compute() == pytest.approx(0.8192)


class Classifier(LightningModule):
    """A module that is right four times in five, and logs its scores."""

    def __init__(self, by_hand=False, on_step=False):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.accuracy = BinaryAccuracy()
        self.score = EnergyPenalizedAccuracy(self.accuracy)
        self.scores = MetricCollection({"sam": sustainable(), "ten": penalized(beta=10)})
        self.by_hand = by_hand
        self.on_step = on_step

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0].to(self.layer.weight.dtype)).square().mean()

    def validation_step(self, batch, batch_idx):
        target = torch.ones(5, dtype=torch.int64)
        preds = torch.tensor([1, 1, 1, 1, 0])
        given = {"energy_kwh": 4.5} if self.by_hand else {}
        (self.score if self.on_step else self.score.update)(preds, target, **given)
        self.scores.update(preds, target, **given)
        self.log("score", self.score, on_step=self.on_step, on_epoch=True)
        self.log("accuracy", self.score.accuracy)
        self.log_dict(self.scores)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Feeder(Callback):
    """Gives the energy of the run as the library's callback does."""

    def __init__(self):
        self.energy_kwh = 0.0

    def on_validation_start(self, trainer, pl_module):
        self.energy_kwh += 9.0
        for score in energy_scores(pl_module):
            score.set_energy(self.energy_kwh * 3.6e6)


class Collector(Callback):
    def __init__(self):
        self.values = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.values.append({k: float(v) for k, v in trainer.callback_metrics.items()})


def run(tmp_path, module, *callbacks, fit=True, max_epochs=2, **settings):
    data = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2)
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=max_epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **settings,
    )
    if fit:
        trainer.fit(module, data, data)
        return trainer
    return trainer.validate(module, data, verbose=False)


@pytest.mark.parametrize("on_step", [False, True])
def test_logged_metrics_with_energy_by_hand(tmp_path, on_step):
    collector = Collector()
    run(tmp_path, Classifier(by_hand=True, on_step=on_step), collector)
    assert len(collector.values) == 2
    for values in collector.values:  # reset between the epochs: 2 batches of 4.5 kWh each time
        assert values["score"] == pytest.approx(0.8192)
        assert values["accuracy"] == pytest.approx(0.8)
        assert values["sam"] == pytest.approx(sustainable_accuracy(0.8, 9.0), rel=1e-6)
        assert values["ten"] == pytest.approx(1.6384)


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_logged_metrics_with_energy_set_at_each_validation(tmp_path, precision):
    collector, module = Collector(), Classifier()
    run(tmp_path, module, Feeder(), collector, precision=precision, num_sanity_val_steps=1)
    energies_kwh = [18.0, 27.0]  # the sanity check was fed 9
    assert [v["score"] for v in collector.values] == pytest.approx(
        [energy_penalized_accuracy(0.8, e) for e in energies_kwh], rel=1e-6
    )
    assert [v["sam"] for v in collector.values] == pytest.approx(
        [sustainable_accuracy(0.8, e) for e in energies_kwh], rel=1e-6
    )


def test_a_score_can_stop_a_run(tmp_path):
    stopping = EarlyStopping("score", mode="max", patience=0)
    trainer = run(tmp_path, Classifier(), Feeder(), stopping, max_epochs=5, num_sanity_val_steps=0)
    assert stopping.stopped_epoch == 1  # the second epoch: energy rose and accuracy did not
    assert trainer.current_epoch == 2
    assert stopping.best_score == pytest.approx(0.8192)


def test_training_goes_on_after_validation_in_inference_mode(tmp_path):
    module, feeder = Classifier(), Feeder()
    (values,) = run(tmp_path, module, feeder, fit=False)
    assert values["score"] == pytest.approx(0.8192)
    module.score.update(PREDS, TARGET, energy_kwh=9.0)
    assert module.score.compute() == pytest.approx(0.8192)
    assert {type(s) for s in energy_scores(module)} == {EnergyPenalizedAccuracy, SustainableAccuracy}
    assert all(isinstance(s, EnergyScore) for s in energy_scores(module))


def test_a_run_without_any_energy_goes_on_and_says_so(tmp_path):
    collector = Collector()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(tmp_path, Classifier(), collector)
    said = [str(w.message) for w in caught if "no energy was given" in str(w.message)]
    assert len(said) == 3  # once for each of three scores
    assert all(math.isnan(values["score"]) and values["accuracy"] > 0 for values in collector.values)
