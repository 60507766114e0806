from __future__ import annotations

import lightning_energy.ledger
from tests.test_layers import PACKAGE, packages_loaded_by

NEED_TORCH = {"batch_size", "batch_source", "counts", "ranks", "sample_count", "step_marks"}


def test_what_books_joules_needs_no_torch():
    """A report of joules that were booked long ago is made of the same modules."""
    room = PACKAGE / "ledger"
    names = sorted(p.stem for p in room.glob("*.py") if p.stem not in {*NEED_TORCH, "__init__"})
    assert "session" in names
    code = "\n".join(f"import {lightning_energy.ledger.__name__}.{name}" for name in names)
    assert not {"torch", "lightning", "torchmetrics"} & packages_loaded_by(code)
