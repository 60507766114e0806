"""Agreement of ranks by their store; with real ranks: tests/training/test_every_trainer_ddp.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch.distributed as dist

from lightning_energy.training import added_on_ranks


@pytest.fixture
def ask(monkeypatch):
    """Asks as one of three ranks that wait for 0.1 s."""
    monkeypatch.setattr(added_on_ranks, "_differ", [])
    monkeypatch.setattr(added_on_ranks, "LONGEST_S", 0.1)

    def ask(rank: int, store: object) -> bool:
        monkeypatch.setattr(added_on_ranks, "_setups", iter([7]))
        monkeypatch.setattr(added_on_ranks, "store_of_ranks", lambda: store)
        return added_on_ranks.is_on_all_ranks(SimpleNamespace(world_size=3, global_rank=rank, strategy=None))

    return ask


def test_what_the_first_finds_holds_for_all(ask, monkeypatch):
    """A rank that comes when another has given up waiting heeds that, though all are there by now."""
    store = dist.HashStore()
    assert not ask(0, store)
    monkeypatch.setattr(added_on_ranks, "_differ", [])
    for rank in (1, 2):
        store.set(f"{added_on_ranks.KEY}/7/{rank}", "1")
    assert not ask(1, store)
    assert not ask(1, dist.HashStore())  # nobody is waited for again
    monkeypatch.setattr(added_on_ranks, "_differ", [])
    whole = dist.HashStore()
    for rank in (0, 1):
        whole.set(f"{added_on_ranks.KEY}/7/{rank}", "1")
    assert ask(2, whole)
    assert ask(0, whole)


def test_a_store_that_cannot_tell_changes_nothing(ask):
    assert ask(0, SimpleNamespace())
    assert ask(0, None)
