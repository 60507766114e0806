from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lightning_energy import load_record
from lightning_energy.training.hyperparameters import LEFT_OUT, recorded_seed, without_secrets
from tests.modules import Classifier, energy_callback, loader, make_trainer

SECRETS = [
    *("api_key", "apikey", "API-KEY", "password", "db_passwd", "secret", "client_secret", "auth_token", "token"),
    *("hf_token", "access_key", "aws_access_key_id", "private_key", "credentials", "wandb_api_key", "pwd"),
    *("apiKey", "accessToken", "clientSecret", "privateKey", "dbPassword", "HF_TOKEN", "wandbKey", "auth_header"),
]
IN_VALUES = {
    "postgres://user:hunter2@host/db": "postgres://…@host/db",
    "https://tok@github.com/a/b.git": "https://…@github.com/a/b.git",
    "see https://h/x?api_key=abc&y=1": "see https://h/x?api_key=…&y=1",
    "Server=x;Password=abc;Port=1": "Server=x;Password=…;Port=1",
    "Bearer abc.def": "Bearer …",
    "hf_abcdefghijklmnopqrstuvwxyz": "hf_…",
    "use sk-abcdefghijklmnop1234 here": "use sk-… here",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789": "ghp_…",
    "AKIAIOSFODNN7EXAMPLE": "AKIA…",
    f"data:{Path.home()}/x,{Path.home()}": "data:~/x,~",
}
HARMLESS = ["s3://bucket/data", "user@host.org", "max_tokens=5", "sk-learn", "https://a.b/c?x=1@2", "hf_model", "a:b@c"]


class Odd:
    def __str__(self) -> str:
        raise ValueError("mine")

    def items(self):
        raise ValueError("mine")


@pytest.mark.parametrize("name", SECRETS)
def test_names_that_smell_of_secrets_are_left_out_and_said(name):
    assert without_secrets({name: "x", "deep": {name: "y"}}) == {name: LEFT_OUT, "deep": {name: LEFT_OUT}}


@pytest.mark.parametrize(
    "name", ["tokenizer", "max_tokens", "key_dim", "num_keys", "author", "n_token_types", "monkey"]
)
def test_names_that_only_look_like_it_stay(name):
    assert without_secrets({name: 3}) == {name: 3}


@pytest.mark.parametrize("text", IN_VALUES)
def test_secrets_in_values_are_hidden(text):
    assert without_secrets({"url": text, "deep": [{"x": (text,)}]}) == {
        "url": IN_VALUES[text],
        "deep": [{"x": [IN_VALUES[text]]}],
    }


@pytest.mark.parametrize("text", HARMLESS)
def test_values_that_only_look_like_secrets_stay(text):
    assert without_secrets({"x": text}) == {"x": text}


def test_a_mapping_that_holds_itself_ends_somewhere():
    circle = {"a": 1}
    circle["self"] = circle
    assert without_secrets(circle)["self"]["self"]["a"] == 1


def test_values_are_plain_and_bounded():
    values = {
        "lr": 0.1,
        "layers": [64, 32],
        "name": "x" * 300,
        "data": str(Path.home() / "data"),
        "frame": pd.DataFrame({"a": [1]}),
        "weights": torch.zeros(3),
        "scale": np.float64(0.5),
        "optimizer": torch.optim.SGD,
        "huge": 10**6000,
        "odd": Odd(),
        "nested": {"a": {"b": (1, None)}},
        3: "three",
        Odd(): 1,
    }
    plain = without_secrets(values)
    assert plain == {
        "lr": 0.1,
        "layers": [64, 32],
        "name": "x" * 199 + "…",
        "data": "~/data",
        "frame": "DataFrame",
        "weights": "Tensor",
        "scale": 0.5,
        "optimizer": "SGD",
        "huge": "a number of 19932 bits",
        "odd": "Odd",
        "nested": {"a": {"b": [1, None]}},
        "3": "three",
        "Odd": 1,
    }
    json.dumps(plain)


def test_there_are_not_too_many():
    assert len(without_secrets({f"a{i}": i for i in range(10_000)})) == 501
    assert len(json.dumps(without_secrets({"a": list(range(10**5))}))) < 10_000


@pytest.mark.parametrize("logger", [True, False])
def test_the_record_honours_the_modules_wish(tmp_path, logger):
    class Mine(Classifier):
        def __init__(self, width=3, api_key="abc") -> None:
            super().__init__()
            self.save_hyperparameters(logger=logger)

    trainer = make_trainer(tmp_path, max_epochs=1, logger=CSVLogger(tmp_path), callbacks=[energy_callback()])
    trainer.fit(Mine(), loader(), loader(8))
    expected = {"width": 3, "api_key": LEFT_OUT} if logger else {}
    assert load_record(trainer.log_dir).what["hyperparameters"] == expected


def test_the_seed_of_a_split_does_not_stand_for_that_of_the_training(tmp_path, monkeypatch):
    class Split(Classifier):
        def __init__(self, seed=42) -> None:
            super().__init__()
            self.save_hyperparameters()

    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    trainer = make_trainer(tmp_path, max_epochs=1, logger=CSVLogger(tmp_path), callbacks=[energy_callback()])
    trainer.fit(Split(), loader(), loader(8))
    record = load_record(trainer.log_dir)
    assert (record.seed, record.global_seed) == (42, 7)


@pytest.mark.parametrize(
    ("hyperparameters", "environment", "seed"),
    [
        ({"seed": 3}, "7", 3),
        ({"random_seed": 4, "lr": 0.1}, None, 4),
        ({"lr": 0.1}, "7", 7),
        ({"seed": None}, "7", 7),
        ({"seed": True}, None, None),
        ({"seed": "3"}, "seven", None),
        ({"seed": -1}, None, None),
        ({}, None, None),
    ],
)
def test_the_seed_is_that_of_the_hyperparameters_or_lightnings_own(monkeypatch, hyperparameters, environment, seed):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    if environment is not None:
        monkeypatch.setenv("PL_GLOBAL_SEED", environment)
    assert recorded_seed(hyperparameters) == seed
