"""The score belongs to its own epoch: whatever logs the accuracy, whoever monitors it, whenever it validates."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torchmetrics.classification import MulticlassF1Score

from lightning_energy.scores.choice import choose_metric, choose_score
from lightning_energy.scores.functional import energy_penalized_accuracy, sustainable_accuracy
from lightning_energy.scores.metric import Metric
from lightning_energy.scores.scorer import Scorer
from lightning_energy.training import log_keys
from lightning_energy.training.settings import Settings
from tests.modules import Classifier, LateLogger, MemoryLogger, energy_callback, loader, make_trainer

REFERENCE_KWH = 1e-6  # a tiny run: the penalty must be felt


class SpyStopping(EarlyStopping):
    """Keeps what EarlyStopping saw, with the accuracy and energy it belongs to."""

    def __init__(self, **kwargs) -> None:
        super().__init__(monitor="energy/score", mode="max", patience=1000, **kwargs)
        self.seen: list[tuple[float, float, float]] = []

    @property
    def state_key(self) -> str:  # two of them may stand in one Trainer
        return f"{super().state_key}{id(self)}"

    def _run_early_stopping_check(self, trainer) -> None:
        metrics = trainer.callback_metrics
        self.seen.append(tuple(float(metrics[k]) for k in ("energy/score", "energy/accuracy", "energy/total_wh")))
        super()._run_early_stopping_check(trainer)


SCHEDULES = [
    pytest.param({}, 3, id="each-epoch"),
    pytest.param({"val_check_interval": 0.5}, 6, id="twice-an-epoch"),
    pytest.param({"val_check_interval": 3, "check_val_every_n_epoch": None}, 8, id="every-3-batches"),
    pytest.param({"check_val_every_n_epoch": 2, "max_epochs": 4}, 2, id="every-other-epoch"),
    pytest.param({"num_sanity_val_steps": 0}, 3, id="no-sanity-check"),
]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["step", "epoch_end", "callback"])
@pytest.mark.parametrize(("schedule", "validations"), SCHEDULES)
def test_monitors_see_the_score_of_this_validation(tmp_path, where, schedule, validations):
    """Whether they are given before EnergyCallback or after it."""
    energy, spy = energy_callback(reference_kwh=REFERENCE_KWH), SpyStopping(check_on_train_epoch_end=False)
    after = SpyStopping(check_on_train_epoch_end=False)
    checkpoint = ModelCheckpoint(dirpath=tmp_path, monitor="energy/score", mode="max", save_top_k=-1)
    trainer = make_trainer(
        tmp_path, callbacks=[spy, energy, after, LateLogger(), checkpoint], enable_checkpointing=True, **schedule
    )
    trainer.fit(Classifier(where), loader(), loader(8))
    assert len(spy.seen) == validations
    assert after.seen == spy.seen
    for i, (score, accuracy, wh) in enumerate(spy.seen, start=1):
        assert accuracy == pytest.approx(0.5 + i / 100, abs=1e-6)
        if where == "step":  # the very energy that stands beside it
            expected = energy_penalized_accuracy(accuracy, wh / 1000, reference_kwh=REFERENCE_KWH)
            assert score == pytest.approx(expected, rel=1e-6)
        assert 0 < score < 5 * accuracy**5
    assert float(checkpoint.best_model_score) == pytest.approx(max(s for s, _, _ in spy.seen), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("again", ["module", "callback"])
@pytest.mark.parametrize("accuracy", [None, "val_acc"])
@pytest.mark.parametrize("sanity", [0, 1])
def test_of_a_name_that_is_logged_twice_the_later_value_counts_in_every_epoch(tmp_path, again, accuracy, sanity):
    """In ``validation_step``, and again when the validation ends: what a monitor of that name would see."""

    class Twice(Classifier):
        def on_validation_epoch_end(self) -> None:
            if again == "module":
                self.log("val_acc", self.value() + 0.25)

    class LogsAgain(Callback):
        def on_validation_epoch_end(self, trainer, pl_module) -> None:
            if again == "callback":
                pl_module.log("val_acc", pl_module.value() + 0.25)

    spy, logger = SpyStopping(check_on_train_epoch_end=False), MemoryLogger()
    energy = energy_callback(accuracy=accuracy, reference_kwh=REFERENCE_KWH)
    trainer = make_trainer(tmp_path, logger=logger, callbacks=[energy, LogsAgain(), spy], num_sanity_val_steps=sanity)
    trainer.fit(Twice("step"), loader(), loader(8))
    expected = pytest.approx([0.76, 0.77, 0.78], abs=1e-6)
    assert [accuracy for _, accuracy, _ in spy.seen] == expected
    assert [row["metric"] for row in energy.history] == expected
    last = dict(logger.points("energy/accuracy"))
    assert [*last.values()] == expected
    if sanity:  # found out before the first value was logged
        assert len(logger.points("energy/accuracy")) == 3


@pytest.mark.parametrize("where", ["step", "epoch_end"])
def test_default_early_stopping_and_checkpoint_act_on_it(tmp_path, where):
    class Falling(Classifier):
        def value(self) -> float:
            return 0.9 if self.validations < 2 else 0.5

    stopping = EarlyStopping(monitor="energy/score", mode="max", patience=1)
    trainer = make_trainer(tmp_path, max_epochs=10, callbacks=[stopping, energy_callback()])
    trainer.fit(Falling(where), loader(), loader(8))
    assert trainer.current_epoch == 2  # stopped after the second epoch
    assert stopping.best_score == pytest.approx(5 * 0.9**5, rel=1e-3)


def test_several_dataloaders_score_the_first(tmp_path):
    class Two(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log("val_acc", 0.9 - 0.2 * dataloader_idx, batch_size=1)

    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[energy_callback()])
    trainer.fit(Two(), loader(), [loader(8), loader(8)])
    assert float(trainer.callback_metrics["energy/accuracy"]) == pytest.approx(0.9)


def test_user_chooses_a_metric_and_a_dataloader(tmp_path):
    class Two(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log("hits", 0.9 - 0.2 * dataloader_idx, batch_size=1)

    energy = energy_callback(accuracy="hits/dataloader_idx_1")
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy])
    trainer.fit(Two(), loader(), [loader(8), loader(8)])
    assert float(trainer.callback_metrics["energy/accuracy"]) == pytest.approx(0.7)
    assert energy.report.metric.name == "hits/dataloader_idx_1"
    assert energy.report.metric.value == pytest.approx(0.7)


def test_validate_returns_the_score_after_fit(tmp_path):
    energy = energy_callback()
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy])
    model = Classifier()
    trainer.fit(model, loader(), loader(8))
    spent_j = energy.report.total.energy_j
    (result,) = trainer.validate(model, loader(8), verbose=False)
    assert result["energy/score"] == pytest.approx(
        energy_penalized_accuracy(result["energy/accuracy"], result["energy/total_wh"] / 1000), rel=1e-5
    )
    assert result["energy/total_wh"] * 3600 == pytest.approx(spent_j, rel=1e-6)  # the training's, not validate's
    assert energy.report.total.energy_j == spent_j


def test_validation_without_a_training_has_no_score(tmp_path):
    trainer = make_trainer(tmp_path, callbacks=[energy_callback()])
    (result,) = trainer.validate(Classifier(), loader(8), verbose=False)
    assert "energy/score" not in result
    assert result["energy/val_j"] > 0


def test_ambiguous_accuracy_warns_once_with_the_choice(tmp_path):
    class Two(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log_dict({"val_acc_cats": 0.5, "val_acc_dogs": 0.6}, batch_size=1)

    trainer = make_trainer(tmp_path, callbacks=[energy_callback()])
    with pytest.warns(UserWarning, match="'val_acc_cats', 'val_acc_dogs'.*accuracy=") as caught:
        trainer.fit(Two(), loader(), loader(8))
    assert sum("no energy/score" in str(w.message) for w in caught) == 1
    assert "energy/score" not in trainer.callback_metrics


def test_accuracy_that_comes_later_is_no_error(tmp_path):
    class Later(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            if self.trainer.current_epoch > 0:
                self.log("val_acc", 0.8, batch_size=1)

    logger = MemoryLogger()
    trainer = make_trainer(tmp_path, logger=logger, callbacks=[energy_callback()])
    with pytest.warns(UserWarning, match="no energy/score"):
        trainer.fit(Later(), loader(), loader(8))
    assert len(logger.points("energy/score")) == 2


def test_an_old_accuracy_is_never_scored(tmp_path):
    class Once(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            if self.trainer.current_epoch == 0:
                self.log("val_acc", 0.8, batch_size=1)

    logger = MemoryLogger()
    trainer = make_trainer(tmp_path, logger=logger, callbacks=[energy_callback()])
    with pytest.warns(UserWarning, match="no energy/score"):
        trainer.fit(Once(), loader(), loader(8))
    assert len(logger.points("energy/score")) == 1


class Percent(Classifier):
    """Logs a percentage that begins below 1, as an untrained model's may: 0.1 in the sanity check, then 0.6, 14, 30."""

    def value(self) -> float:
        return (0.6, 14.0, 30.0)[self.trainer.current_epoch] if not self.trainer.sanity_checking else 0.1


@pytest.mark.parametrize("where", ["step", "epoch_end"])
def test_a_percentage_that_is_named_as_a_fraction_is_an_error_of_the_sanity_check(tmp_path, where):
    """Told while nothing is lost."""

    class Full(Percent):
        def value(self) -> float:
            return 91.2

    trainer = make_trainer(tmp_path, num_sanity_val_steps=1, callbacks=[energy_callback(accuracy="val_acc")])
    with pytest.raises(ValueError, match=r"val_acc=91\.2.*EnergyCallback\(accuracy='val_acc', scale='percent'\)"):
        trainer.fit(Full(where), loader(), loader(8))
    assert trainer.current_epoch == 0


@pytest.mark.slow
@pytest.mark.parametrize("where", ["step", "epoch_end"])
@pytest.mark.parametrize("settings", [{"accuracy": "val_acc", "scale": "percent"}, {"scale": "percent"}])
def test_a_percentage_that_is_said_to_be_one(tmp_path, where, settings):
    energy = energy_callback(reference_kwh=REFERENCE_KWH, **settings)
    make_trainer(tmp_path, num_sanity_val_steps=1, callbacks=[energy]).fit(Percent(where), loader(), loader(8))
    assert energy.report.metric == Metric("val_acc", pytest.approx(30.0), scale="percent")
    kwh = energy.report.score_kwh
    expected = [energy_penalized_accuracy(a, kwh, reference_kwh=REFERENCE_KWH) for a in (0.006, 0.14, 0.3)]
    assert [row["score"] for row in energy.history] == pytest.approx(expected, rel=0.5)
    assert energy.report.score == pytest.approx(expected[2], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["step", "epoch_end"])
def test_a_percentage_that_shows_late_withdraws_what_was_scored_before(tmp_path, where):
    """Monitors begin anew, and the report does not end with the score of 0.6 % taken for 60 %."""
    energy, stopping = energy_callback(), EarlyStopping("energy/score", mode="max", patience=1)
    checkpoint = ModelCheckpoint(tmp_path, monitor="energy/score", mode="max", filename="{epoch}")
    by_accuracy = ModelCheckpoint(tmp_path / "accurate", monitor="energy/accuracy", mode="max", filename="{epoch}")
    callbacks = [stopping, energy, checkpoint, by_accuracy]
    trainer = make_trainer(tmp_path, num_sanity_val_steps=1, callbacks=callbacks, enable_checkpointing=True)
    with pytest.warns(UserWarning, match=r"val_acc=14 shows that val_acc is a percentage.*epoch=0\.ckpt"):
        trainer.fit(Percent(where), loader(), loader(8))
    assert trainer.current_epoch == 3
    scores = [row["score"] for row in energy.history]
    assert scores == [None, pytest.approx(5 * 0.14**5, rel=1e-3), pytest.approx(5 * 0.3**5, rel=1e-3)]
    assert float(stopping.best_score) == float(checkpoint.best_model_score) == pytest.approx(scores[2], rel=1e-6)
    assert checkpoint.best_model_path.endswith("epoch=2.ckpt")
    assert by_accuracy.best_model_path.endswith("epoch=2.ckpt")  # 0.3, though 0.6 was logged before
    assert energy.report.best.epoch == 2
    assert energy.report.metric == Metric("val_acc", pytest.approx(30.0), scale="percent")
    assert [note.kind for note in energy.report.notes].count("withdrawn") == 1
    assert (tmp_path / "epoch=0.ckpt").exists()


@pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:EnergyCallback. this training will spend about")
@pytest.mark.parametrize("is_resumed", [True, False])
def test_a_percentage_that_shows_after_a_resumption_withdraws_what_earlier_sessions_scored(tmp_path, is_resumed):
    checkpoint = ModelCheckpoint(tmp_path, monitor="energy/score", mode="max", filename="{epoch}")

    class Late(Percent):
        def value(
            self,
        ) -> float:  # a further fit of the same Trainer begins with a sanity check
            return 14.0 if self.trainer.sanity_checking and self.trainer.global_step else super().value()

    energy, module = energy_callback(), Late("step")
    settings = {"enable_checkpointing": True, "num_sanity_val_steps": 1}
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy, checkpoint], **settings)
    trainer.fit(module, loader(), loader(8))
    assert [row["score"] for row in energy.history] == [pytest.approx(5 * 0.6**5, rel=1e-3)]
    if is_resumed:
        energy = energy_callback()
        checkpoint = ModelCheckpoint(tmp_path, monitor="energy/score", mode="max", filename="{epoch}")
        trainer = make_trainer(tmp_path, max_epochs=3, callbacks=[energy, checkpoint], **settings)
    trainer.fit_loop.max_epochs = 3
    path = str(tmp_path / "epoch=0.ckpt") if is_resumed else None
    with pytest.warns(UserWarning, match=r"shows that val_acc is a percentage.*epoch=0\.ckpt"):
        trainer.fit(module, loader(), loader(8), ckpt_path=path)
    scores = [row["score"] for row in energy.history]
    assert scores == [None, pytest.approx(5 * 0.14**5, rel=1e-3), pytest.approx(5 * 0.3**5, rel=1e-3)]
    assert checkpoint.best_model_path.endswith("epoch=2.ckpt")


def test_a_guess_never_ends_a_training(tmp_path):
    class Count(Classifier):
        def value(self) -> float:
            return 912.0

    trainer = make_trainer(tmp_path, num_sanity_val_steps=1, callbacks=[energy_callback()])
    with pytest.warns(UserWarning, match="no energy/score, as val_acc=912 is no fraction"):
        trainer.fit(Count(), loader(), loader(8))
    assert trainer.current_epoch == 3


def test_a_class_that_promises_a_fraction_is_scored_by_name(tmp_path):
    class Torchmetrics(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.f1 = MulticlassF1Score(num_classes=2)

        def validation_step(self, batch, batch_idx):
            self.f1.update(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 0]))
            self.log("val_f1", self.f1)

    energy = energy_callback(metric="val_f1")
    make_trainer(tmp_path, max_epochs=1, callbacks=[energy]).fit(Torchmetrics(), loader(), loader(8))
    assert energy.report.metric == Metric("val_f1", 1.0)
    assert energy.report.score == pytest.approx(5.0, rel=1e-3)


def test_a_perplexity_is_followed_over_the_energy_without_a_score(tmp_path):
    class Language(Classifier):
        def validation_step(self, batch, batch_idx):
            self.log("val_ppl", 40.0 - 10.0 * self.trainer.current_epoch, batch_size=1)

    energy, memory = energy_callback(metric="val_ppl", mode="min"), MemoryLogger()
    trainer = make_trainer(tmp_path, logger=memory, callbacks=[energy])
    trainer.fit(Language(), loader(), loader(8))
    assert [value for _, value in memory.points("energy/metric")] == [40.0, 30.0, 20.0]
    assert not {"energy/score", "energy/accuracy"} & {*trainer.callback_metrics}
    assert (energy.report.best.epoch, energy.report.best.value) == (2, 20.0)
    assert "val_ppl is no accuracy" in energy.report.no_score


def test_a_score_that_would_ignore_the_energy_of_the_run_is_told_once(tmp_path):
    def fit(**settings):
        stopping = EarlyStopping("energy/score", mode="max")
        make_trainer(tmp_path, callbacks=[stopping, energy_callback(**settings)]).fit(Classifier(), loader(), loader(8))

    with pytest.warns(UserWarning, match="far less than the 1 kWh.*reference_kwh='run'") as caught:
        fit()
    assert sum("far less than" in str(warning.message) for warning in caught) == 1
    fit(reference_kwh="run")  # says nothing


def test_a_monitor_that_takes_the_lowest_score_for_the_best_is_told(tmp_path):
    stopping = EarlyStopping("energy/score")
    trainer = make_trainer(tmp_path, callbacks=[stopping, energy_callback(reference_kwh=REFERENCE_KWH)])
    with pytest.warns(UserWarning, match="mode='min', Lightning's default, of EarlyStopping takes the lowest"):
        trainer.fit(Classifier(), loader(), loader(8))


@pytest.mark.slow
def test_a_reference_of_the_run_lives_on_in_its_checkpoint(tmp_path):
    first = energy_callback(reference_kwh="run")
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[first])
    trainer.fit(Classifier(), loader(), loader(8))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    second = energy_callback(reference_kwh="run")
    make_trainer(tmp_path, max_epochs=4, callbacks=[second]).fit(
        Classifier(), loader(), loader(8), ckpt_path=tmp_path / "a.ckpt"
    )
    assert first.report.score_name == second.report.score_name
    assert first.report.score_name.startswith("energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=")
    scores = [row["score"] for row in second.history]
    assert len(scores) == 4
    # accuracy 0.51, and the energy is the reference: 5 * 0.51**5 / (1 + log10(2))
    assert scores[0] == pytest.approx(0.13260, rel=1e-3)


def test_a_run_that_goes_on_with_another_metric_and_reference_takes_those(tmp_path):
    """The scale of a loss is not that of an accuracy, and a number is not the run's own reference."""

    class Both(Classifier):
        def validation_step(self, batch, batch_idx):
            super().validation_step(batch, batch_idx)
            self.log("val_loss", 0.4)

    first = energy_callback(metric="val_loss", mode="min", reference_kwh=5.0)
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[first])
    trainer.fit(Both(), loader(), loader(8))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    second = energy_callback(accuracy="val_acc", reference_kwh="run")
    make_trainer(tmp_path, max_epochs=2, callbacks=[second]).fit(
        Both(), loader(), loader(8), ckpt_path=tmp_path / "a.ckpt"
    )
    assert second.report.metric.scale == "fraction"
    # the energy is the reference, as at every first score: 1 + log10(2) = 1.30103
    assert second.report.score == pytest.approx(5 * second.report.metric.value**5 / 1.30103, rel=1e-5)
    assert not second.report.score_name.endswith("reference_kwh=5)")


def test_a_reference_from_a_finished_run(tmp_path):
    first = energy_callback(record=tmp_path / "first")
    make_trainer(tmp_path, max_epochs=1, callbacks=[first]).fit(Classifier(), loader(), loader(8))
    rule = Settings.of(energy_callback(reference_kwh=tmp_path / "first")).score_rule
    assert rule.reference_kwh == first.report.total.energy_kwh


def test_where_there_is_a_score_no_reason_stands_beside_it(tmp_path):
    """The last validation logs nothing: the report has the score of the one before."""

    class Lapsing(Classifier):
        def validation_step(self, batch, batch_idx):
            if self.current_epoch == 0:
                super().validation_step(batch, batch_idx)

    energy = energy_callback(reference_kwh=REFERENCE_KWH)
    with pytest.warns(UserWarning, match="no energy/score, as no metric was logged by this validation"):
        make_trainer(tmp_path, max_epochs=2, callbacks=[energy]).fit(Lapsing(), loader(), loader(8))
    assert (energy.report.metric_epoch, energy.report.no_score) == (0, "")
    assert energy.report.score is not None


def test_losses_alone_need_nothing_to_be_done(tmp_path):
    class Forecast(Classifier):
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", 0.8, batch_size=1)

    energy = energy_callback()
    with pytest.warns(UserWarning, match="only 'val_loss'. The energy is complete, and nothing needs to be done"):
        make_trainer(tmp_path, callbacks=[energy]).fit(Forecast(), loader(), loader(8))
    assert energy.report.no_score.startswith("no accuracy was logged, only 'val_loss'")
    assert energy.report.metric is None


@pytest.mark.parametrize("sanity", [0, 1])
def test_the_better_name_that_comes_later_is_the_one_that_monitors_see(tmp_path, sanity):
    """``val_top5_acc`` in a step, ``val_acc`` in the module's own hook after ours: one score, of the second."""

    class Both(Classifier):
        def validation_step(self, batch, batch_idx):
            self.log("val_top5_acc", 0.99, batch_size=1)

    seen = []

    class Look(Callback):
        def on_validation_end(self, trainer, pl_module) -> None:
            if not trainer.sanity_checking:
                seen.append(float(trainer.callback_metrics["energy/accuracy"]))

    energy, memory = energy_callback(), MemoryLogger()
    trainer = make_trainer(tmp_path, logger=memory, num_sanity_val_steps=sanity, callbacks=[energy, Look()])
    trainer.fit(Both("epoch_end"), loader(), loader(8))
    assert seen == pytest.approx([0.51, 0.52, 0.53])
    assert [row["metric"] for row in energy.history] == pytest.approx(seen)
    assert [v for _, v in memory.points("energy/accuracy")] == pytest.approx(seen)


class Sometimes(Classifier):
    """Logs its accuracy in the first epoch and from the fourth on."""

    def validation_step(self, batch, batch_idx):
        if self.trainer.current_epoch == 0 or self.trainer.current_epoch > 2:
            super().validation_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore:EnergyCallback. EarlyStopping can do nothing while")
@pytest.mark.filterwarnings("ignore:EnergyCallback. no energy/score")
@pytest.mark.parametrize("strict", [False, True])
def test_a_validation_without_a_score_leaves_no_old_one(tmp_path, strict):
    """A stopping that would end the run without one waits, too."""
    seen = []

    class Look(Callback):
        def on_validation_end(self, trainer, pl_module) -> None:
            if not trainer.sanity_checking:
                seen.append("energy/score" in trainer.callback_metrics)

    stopping = EarlyStopping("energy/score", mode="max", patience=2, strict=strict)
    trainer = make_trainer(
        tmp_path, max_epochs=6, num_sanity_val_steps=0, callbacks=[energy_callback(), Look(), stopping]
    )
    trainer.fit(Sometimes(), loader(), loader(8))
    assert seen == [True, False, False, True, True, True]
    assert trainer.current_epoch == 6
    assert stopping.strict is strict


@pytest.mark.filterwarnings("ignore:EnergyCallback")
def test_a_score_of_ones_own_that_is_none_is_no_score(tmp_path):
    energy = energy_callback(score=lambda accuracy, energy_kwh: None if accuracy < 0.515 else accuracy)
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert [row["score"] for row in energy.history] == [None, pytest.approx(0.52), pytest.approx(0.53)]


def test_why_a_score_of_ones_own_failed_is_told(tmp_path):
    def mine(accuracy: float, energy_kwh: float) -> float:
        return {}[f"of {accuracy:.0f}"]

    energy = energy_callback(score=mine)
    trainer = make_trainer(tmp_path, callbacks=[energy])
    with pytest.warns(UserWarning, match=r"mine is not defined at .* \(KeyError: 'of 1'\)"):
        trainer.fit(Classifier(), loader(), loader(8))
    assert energy.report.session.energy_j > 0  # measured to the end


@pytest.mark.parametrize(
    "score", [lambda: 1.0, lambda accuracy: accuracy, lambda a, e, *, scale: scale, int.bit_length]
)
def test_a_score_that_cannot_be_called_with_two_is_told_at_construction(score):
    with pytest.raises(TypeError, match=r"called as score\(value, energy_kwh\); this one: "):
        energy_callback(score=score)


def test_a_score_without_a_signature_is_taken():
    assert energy_callback(score=max).score is max


@pytest.mark.parametrize(
    ("accuracy", "logged", "advice"),
    [
        ("val_ac", {"val_acc": 1.0, "val_loss": 0.1}, "Logged: 'val_acc', 'val_loss'. Did you mean 'val_acc'?"),
        ("hits", {"val_loss": 0.1}, "Logged: 'val_loss'"),
        ("hits", {}, "Logged: nothing. Log one, e.g. self.log('hits', …) in validation_step"),
        (None, {}, "no metric was logged by this validation. Log one, e.g. self.log('val_acc', …) in validation_step"),
        (
            None,
            {"val_loss": 0.1},
            (
                "no accuracy was logged, only 'val_loss'. The energy is complete, and nothing needs to be done. "
                "To see one of them over the energy: EnergyCallback(metric='val_loss', mode='min')"
            ),
        ),
        (
            None,
            {"val_f1": 0.1},
            "'val_f1'. Choose one: EnergyCallback(accuracy=…), or EnergyCallback(metric=…, mode=…) if it is none",
        ),
    ],
)
def test_advice_when_there_is_no_accuracy(accuracy, logged, advice):
    assert Scorer(choose_metric(accuracy)).advice(logged).endswith(advice)


@pytest.mark.parametrize(
    ("score", "cure"),
    [
        (
            "penalized",
            (
                "Give a score of your own with EnergyCallback(metric='val_loss', mode='min', score=…), a function of "
                "(value, energy_kwh)"
            ),
        ),
        (max, "Give your score one of them: EnergyCallback(metric='val_loss', mode='min', score=…)"),
    ],
)
def test_losses_alone_need_something_to_be_done_where_a_callback_waits_for_a_score(score, cure):
    scorer = Scorer(choose_metric(), choose_score(score, 1.0))
    assert scorer.advice({"val_loss": 0.1}, waits=True) == f"no accuracy was logged, only 'val_loss'. {cure}"


def test_nan_accuracy_has_no_score(tmp_path):
    class Nan(Classifier):
        def value(self) -> float:
            return float("nan")

    trainer = make_trainer(tmp_path, callbacks=[energy_callback()])
    with pytest.warns(UserWarning, match="not finite"):
        trainer.fit(Nan(), loader(), loader(8))
    assert "energy/score" not in trainer.callback_metrics


def test_a_score_that_is_not_defined_is_not_logged(tmp_path):
    trainer = make_trainer(tmp_path, callbacks=[energy_callback(score=sustainable_accuracy)])
    with pytest.warns(UserWarning, match=r"sustainable_accuracy is not defined at .* \(ValueError: energy_kwh=.*\)"):
        trainer.fit(Classifier(), loader(), loader(8))
    assert "energy/score" not in trainer.callback_metrics
    assert log_keys.TOTAL_WH in trainer.callback_metrics


def test_users_own_score(tmp_path):
    energy = energy_callback(score=lambda accuracy, energy_kwh: accuracy - energy_kwh)
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy])
    trainer.fit(Classifier(), loader(), loader(8))
    metrics = trainer.callback_metrics
    expected = float(metrics["energy/accuracy"]) - float(metrics["energy/total_wh"]) / 1000
    assert float(metrics["energy/score"]) == pytest.approx(expected, rel=1e-6)


def test_score_drives_a_plateau_scheduler(tmp_path):
    class Plateau(Classifier):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0, threshold=10)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "energy/score"}}

    trainer = make_trainer(tmp_path, callbacks=[energy_callback()])
    trainer.fit(Plateau(), loader(), loader(8))
    assert trainer.optimizers[0].param_groups[0]["lr"] < 0.1


def test_order_of_other_callbacks_stays(tmp_path):
    class Other(Callback):
        pass

    energy, other, stopping = energy_callback(), Other(), SpyStopping()
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[other, stopping, energy])
    trainer.fit(Classifier(), loader(), loader(8))
    assert trainer.callbacks == [other, energy, stopping]


def test_the_published_score_is_logged_above_1_kwh_only_and_that_is_said_once(tmp_path):
    energy = energy_callback(score="sustainable")
    trainer = make_trainer(tmp_path, callbacks=[energy])
    with pytest.warns(UserWarning, match="sustainable_accuracy is defined above 1 kWh only") as caught:
        trainer.fit(Classifier(), loader(), loader(8))
    assert len([w for w in caught if "above 1 kWh" in str(w.message)]) == 1
    assert log_keys.SCORE not in trainer.callback_metrics
    assert [row["score"] for row in energy.history] == [None] * 3
