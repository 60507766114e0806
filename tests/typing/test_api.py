from __future__ import annotations

import ast
from pathlib import Path

import lightning_energy
from lightning_energy import functional

SOURCE = (Path(__file__).parent / "api.py").read_text(encoding="utf-8")


def test_every_public_name_is_type_checked_as_users_write_it() -> None:
    used = {getattr(node, "id", getattr(node, "attr", None)) for node in ast.walk(ast.parse(SOURCE))}
    assert {*lightning_energy.__all__} - used == set()
    assert {*functional.__all__} - {"OnInvalid"} - used == set()
