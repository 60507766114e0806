from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.meters import MeterError, MeterLost, MeterUnavailable, RaplMeter, find, open_meters
from lightning_energy.meters.rapl import RaplSource, explain_rapl, find_rapl
from tests.sim.clock import VirtualClock
from tests.sim.sysfs import RANGE_UJ, ZONES, Powercap, let_move


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
    (tree.root / "intel-rapl:0" / "energy_uj").write_text("?\n")
    with pytest.raises(MeterUnavailable, match="energy_uj: invalid literal"):
        RaplMeter(tree.root / "intel-rapl:0").open()


def test_explanations(tmp_path):
    assert "does not exist" in explain_rapl(tmp_path / "nothing")[0]
    (tmp_path / "empty").mkdir()
    assert "virtual machine" in explain_rapl(tmp_path / "empty")[0]
    assert explain_rapl(Powercap(tmp_path / "powercap", ZONES).root) == []
    assert find_rapl(tmp_path / "nothing") == []


RANGES_UJ = [65_532_610_987, 262_143_328_850]  # of registers of 32 bit in 15.3 and 61 uJ, as kernels tell them
UNTOLD = {"empty": "", "zero": "0\n", "negative": "-1\n", "no number": "?\n", "absent": None}


@pytest.mark.parametrize("text", UNTOLD.values(), ids=[*UNTOLD])
@pytest.mark.parametrize("range_uj", RANGES_UJ)
def test_wraps_are_found_by_the_registers_width_where_its_range_is_not_told(tmp_path, text, range_uj):
    tree = Powercap(tmp_path / "powercap", {"intel-rapl:0": "package-0"}, limit_uw=10**10)
    path = tree.root / "intel-rapl:0" / "max_energy_range_uj"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    tree.set("intel-rapl:0", range_uj - 30_000)
    meter = RaplMeter(tree.root / "intel-rapl:0")
    note = meter.open().note
    assert "max_energy_range_uj" in note
    assert "by the width of its register" in note
    first_j = meter.read().register_j
    for energy_uj, rise_j in [(70_000, 0.1), (170_000, 0.2)]:
        tree.set("intel-rapl:0", energy_uj)
        assert meter.read().register_j - first_j == pytest.approx(rise_j, abs=0.001)
    meter.close()


def test_a_reset_is_no_wrap_where_the_range_is_not_told_either(tmp_path):
    tree = Powercap(tmp_path / "powercap")
    (tree.root / "intel-rapl:0" / "max_energy_range_uj").unlink()
    tree.set("intel-rapl:0", 50_000_000_000)
    meter = RaplMeter(tree.root / "intel-rapl:0")
    meter.open()
    before_j = meter.read().register_j
    tree.set("intel-rapl:0", 0)
    assert meter.read().register_j < before_j
    meter.close()


def test_a_range_that_the_register_exceeds_is_none(tmp_path):
    tree = Powercap(tmp_path / "powercap")
    (tree.root / "intel-rapl:0" / "max_energy_range_uj").write_text("1000\n")
    meter = RaplMeter(tree.root / "intel-rapl:0")
    assert "max_energy_range_uj says 1000 uJ, less than the register's 1000000 uJ" in meter.open().note
    meter.close()


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_range_that_may_not_be_read_is_blamed_itself(tmp_path, monkeypatch, error):
    tree = Powercap(tmp_path / "powercap", {"intel-rapl:0": "package-0"})
    really = Path.read_text

    def read_text(path, *args, **kwargs):
        if path.name == "max_energy_range_uj":
            raise error
        return really(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)
    (meter,) = find_rapl(tree.root)
    note = meter.open().note
    assert error.strerror in note
    assert "energy_uj" not in note.replace("max_energy_range_uj", "")
    meter.close()


@pytest.mark.parametrize("fatal", ["energy_uj", "name"])
@pytest.mark.parametrize("harmless", ["max_energy_range_uj", "constraint_0_max_power_uw"])
def test_a_file_that_cannot_be_read_is_named_and_ends_no_more_than_its_part(tmp_path, monkeypatch, fatal, harmless):
    """It is a folder: whatever reads it gets an error, also where root runs the tests."""
    tree = Powercap(tmp_path / "powercap", {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1"})
    for zone, name in (("intel-rapl:0", fatal), ("intel-rapl:1", harmless)):
        (tree.root / zone / name).unlink()
        (tree.root / zone / name).mkdir()
    let_move(monkeypatch)
    monkeypatch.setattr(find, "SOURCES", (RaplSource(tree.root),))
    found = open_meters(["auto"], device=torch.device("cpu"))
    assert [info.device_id for _, info in found.meters] == ["package-1"]
    (reason,) = found.absent
    assert f"intel-rapl:0/{fatal}" in reason
    found.close()


def test_where_nothing_can_be_read_the_estimate_says_why(tmp_path, monkeypatch):
    tree = Powercap(tmp_path / "powercap", {"intel-rapl:0": "package-0"})
    (tree.root / "intel-rapl:0" / "energy_uj").unlink()
    monkeypatch.setattr(find, "SOURCES", (RaplSource(tree.root),))
    found = open_meters(["auto"], device=torch.device("cpu"))
    assert [info.quality for _, info in found.meters] == ["estimated"]
    assert "intel-rapl:0/energy_uj" in found.absent[0]
    found.close()


DIES = {"intel-rapl:0": "package-0-die-0", "intel-rapl:1": "package-0-die-1"}
AMD_RANGE_UJ = 65_532_610_987


def dies(tmp_path, first_uj: int, second_uj: int, zones: dict[str, str] = DIES) -> Powercap:
    tree = Powercap(tmp_path / "powercap", zones, limit_uw=None)
    for zone, energy_uj in zip(zones, (first_uj, second_uj), strict=False):
        (tree.root / zone / "max_energy_range_uj").write_text(f"{AMD_RANGE_UJ}\n")
        (tree.root / zone / "enabled").write_text("0\n")
        tree.set(zone, energy_uj)
    return tree


def opened(tree: Powercap):
    meters = find_rapl(tree.root)
    return meters, [meter.open() for meter in meters]


@pytest.mark.parametrize(
    ("first_uj", "second_uj"),
    [
        (10_360_237_493, 10_359_908_363),  # recorded on a Threadripper: between the two reads lie 0.33 J
        (10_360_000_000, 10_360_000_000),
        (20_000, AMD_RANGE_UJ - 30_000),  # one has wrapped meanwhile
    ],
)
def test_dies_that_show_one_register_count_once(tmp_path, first_uj, second_uj):
    tree = dies(tmp_path, first_uj, second_uj)
    (meter,), (info,) = opened(tree)
    assert (info.device_id, info.scope, info.name) == ("package-0", "package", "CPU package-0")
    assert "package-0-die-0 and package-0-die-1 show one register, which counts once" in info.note
    first_j = meter.read().register_j
    for zone in DIES:
        tree.set(zone, first_uj + 50_000_000)
    assert meter.read().register_j - first_j == pytest.approx(50.0)
    meter.close()
    meter.close()


def test_dies_that_show_two_registers_both_count(tmp_path):
    tree = dies(tmp_path, 10_360_237_493, 10_459_908_363)
    meters, infos = opened(tree)
    assert [i.device_id for i in infos] == ["package-0-die-0", "package-0-die-1"]
    before_j = sum(m.read().register_j for m in meters)
    tree.set("intel-rapl:0", 10_361_237_493)
    tree.set("intel-rapl:1", 10_460_908_363)
    assert sum(m.read().register_j for m in meters) - before_j == pytest.approx(2.0)
    for meter in meters:
        meter.close()


def test_pairs_of_dies_and_other_sockets_are_kept_apart(tmp_path):
    zones = {
        **{f"intel-rapl:{i}": f"package-0-die-{i}" for i in range(4)},
        "intel-rapl:4": "package-1",
        "intel-rapl:4:0": "dram",
    }
    tree = Powercap(tmp_path / "powercap", zones, limit_uw=None)
    for zone, energy_uj in zip(zones, (1_000_000, 2_000_000_000, 1_000_000, 2_000_000_000), strict=False):
        tree.set(zone, energy_uj)
    meters, infos = opened(tree)
    assert [i.device_id for i in infos] == ["package-0-die-0", "package-0-die-1", "package-1", "dram-4"]
    assert [bool(i.note) for i in infos] == [True, True, False, True]
    for meter in meters:
        meter.close()


def test_dies_that_look_alike_and_part_later_are_told_and_both_count_from_then_on(tmp_path, monkeypatch):
    clock = VirtualClock()
    monkeypatch.setattr("lightning_energy.meters.rapl.monotonic_ns", clock)
    tree = dies(tmp_path, 1_000_000, 1_200_000)  # soon after the machine's start
    (meter,), _ = opened(tree)
    first_j = meter.read().register_j
    energy_uj = [1_000_000, 1_200_000]
    registers, lost = [], []
    for _ in range(100):  # 100 W and 180 W, for ten seconds
        clock.now_ns += 100_000_000
        energy_uj[0] += 10_000_000
        energy_uj[1] += 18_000_000
        for zone, value_uj in zip(DIES, energy_uj, strict=True):
            tree.set(zone, value_uj)
        try:
            registers.append(meter.read().register_j - first_j)
        except MeterLost as error:
            lost.append(str(error))
    assert 11 <= len(lost) <= 20  # for longer than a register bridges, so that the time is missing and told
    assert "package-0-die-1" in lost[0]
    assert "another register" in lost[0]
    assert registers == sorted(registers)
    assert registers[-1] - registers[-11] == pytest.approx(280.0)
    meter.close()


def test_dies_without_permission_are_told_like_any_zone(tmp_path):
    tree = dies(tmp_path, 1_000_000, 1_000_000)
    (tree.root / "intel-rapl:1" / "energy_uj").unlink()
    meters = find_rapl(tree.root)
    assert names(meters) == ["intel-rapl:0", "intel-rapl:1"]
    with pytest.raises(MeterUnavailable, match="intel-rapl:1/energy_uj"):
        meters[1].open()


def test_mirrors_that_are_lost_say_which_file(tmp_path):
    tree = dies(tmp_path, 1_000_000, 1_000_000)
    (meter,), _ = opened(tree)
    with (tree.root / "intel-rapl:1" / "energy_uj").open("r+") as file:
        file.truncate(0)
    with pytest.raises(MeterLost, match="intel-rapl:1/energy_uj"):
        meter.read()
    meter.close()
