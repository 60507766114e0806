from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.meters import MeterError, MeterLost, MeterUnavailable, RaplMeter
from lightning_energy.meters.rapl import explain_rapl, find_rapl
from tests.sim.sysfs import RANGE_UJ, ZONES, Powercap


def names(meters):
    return [m.zone.name for m in meters]


def test_packages_and_their_memory_and_nothing_twice(tmp_path):
    Powercap(tmp_path / "powercap")
    meters = find_rapl(tmp_path / "powercap")
    assert names(meters) == ["intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1", "intel-rapl:1:1"]
    infos = [m.open() for m in meters]
    assert [i.device_id for i in infos] == ["package-0", "dram-0", "package-1", "dram-1"]
    assert [i.scope for i in infos] == ["package", "dram", "package", "dram"]
    assert all(i.per_node and i.quality == "measured" for i in infos)
    assert [i.calibration_u for i in infos] == [0.05, 0.15, 0.05, 0.15]
    for meter in meters:
        meter.close()


def test_psys_only_where_there_is_no_package(tmp_path):
    Powercap(tmp_path / "powercap", {"intel-rapl:0": "psys", "intel-rapl:0:0": "core"})
    (meter,) = find_rapl(tmp_path / "powercap")
    assert meter.open().scope == "psys"
    meter.close()


def test_amd(tmp_path):
    Powercap(tmp_path / "powercap", {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core"})
    assert names(find_rapl(tmp_path / "powercap")) == ["intel-rapl:0"]


@given(st.lists(st.integers(0, 50_000_000), min_size=1, max_size=30), st.integers(0, RANGE_UJ))
def test_register_is_unwrapped_in_joules(tmp_path_factory, rises_uj, start_uj):
    tree = Powercap(tmp_path_factory.mktemp("sys") / "powercap", limit_uw=10**12)
    tree.set("intel-rapl:0", start_uj)
    meter = RaplMeter(tree.root / "intel-rapl:0")
    meter.open()
    first_j, true_uj = meter.read().register_j, 0
    for rise_uj in rises_uj:
        true_uj += rise_uj
        tree.set("intel-rapl:0", (start_uj + true_uj) % RANGE_UJ)
        assert meter.read().register_j - first_j == pytest.approx(true_uj * 1e-6, abs=1e-6)
    meter.close()


def test_a_reset_is_no_wrap(tmp_path):
    tree = Powercap(tmp_path / "powercap")
    tree.set("intel-rapl:0", RANGE_UJ // 2)
    meter = RaplMeter(tree.root / "intel-rapl:0")
    meter.open()
    before_j = meter.read().register_j
    tree.set("intel-rapl:0", 0)  # a wrap would mean 131 kJ in a moment
    assert meter.read().register_j < before_j
    meter.close()


def test_a_stop_in_which_it_may_have_wrapped_twice(tmp_path, monkeypatch):
    """Two hours without a look, as when a job is suspended: how often the register wrapped cannot be known."""
    meter = RaplMeter(Powercap(tmp_path / "powercap").root / "intel-rapl:0")
    meter.open()
    meter.read()
    monkeypatch.setattr("lightning_energy.meters.rapl.monotonic_ns", lambda: time.monotonic_ns() + 7200 * 10**9)
    with pytest.raises(MeterLost, match="not read for 7200 s, and may have wrapped twice"):
        meter.read()
    assert meter.read().register_j is not None  # and on it goes
    meter.close()


def test_opened_again_it_starts_anew(tmp_path):
    meter = RaplMeter(Powercap(tmp_path / "powercap").root / "intel-rapl:0")
    for _ in range(2):
        meter.open()
        assert meter.read().register_j == pytest.approx(1.0)
        meter.close()
        meter.close()
    with pytest.raises(MeterError, match="open"):
        meter.read()


def test_limits(tmp_path):
    tree = Powercap(tmp_path / "powercap", limit_uw=0)
    meter = RaplMeter(tree.root / "intel-rapl:0")
    assert meter.open().power_max_w == 1500.0
    meter.close()
    (tree.root / "intel-rapl:0" / "constraint_0_max_power_uw").write_text("65000000\n")
    assert meter.open().power_max_w == 130.0
    meter.close()


def test_no_permission_names_the_command(tmp_path, monkeypatch):
    tree = Powercap(tmp_path / "powercap")

    def refuse(path, flags):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(MeterUnavailable, match="sudo chmod"):
        RaplMeter(tree.root / "intel-rapl:0").open()
    reasons = explain_rapl(tree.root)
    assert len(reasons) == 4
    assert all("sudo chmod" in r for r in reasons)


def test_lost_in_the_middle(tmp_path):
    tree = Powercap(tmp_path / "powercap")
    meter = RaplMeter(tree.root / "intel-rapl:0")
    meter.open()
    with (tree.root / "intel-rapl:0" / "energy_uj").open("r+") as file:
        file.truncate(0)
    with pytest.raises(MeterLost, match="energy_uj"):
        meter.read()
    meter.close()


def test_what_is_no_zone_is_said(tmp_path):
    tree = Powercap(tmp_path / "powercap")
    with pytest.raises(MeterUnavailable, match="no RAPL zone"):
        RaplMeter(tree.root / "intel-rapl:0:0").open()
    with pytest.raises(MeterUnavailable, match="no RAPL zone"):
        RaplMeter(tree.root / "intel-rapl:9").open()
    (tree.root / "intel-rapl:0" / "max_energy_range_uj").write_text("?\n")
    with pytest.raises(MeterUnavailable, match="invalid literal"):
        RaplMeter(tree.root / "intel-rapl:0").open()


def test_explanations(tmp_path):
    assert "does not exist" in explain_rapl(tmp_path / "nothing")[0]
    (tmp_path / "empty").mkdir()
    assert "virtual machine" in explain_rapl(tmp_path / "empty")[0]
    assert explain_rapl(Powercap(tmp_path / "powercap", ZONES).root) == []
    assert find_rapl(tmp_path / "nothing") == []
