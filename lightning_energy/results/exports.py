"""A record in layouts of other tools: CodeCarbon's ``emissions.csv``, the front matter of a Hugging Face model card.

CodeCarbon counts CO2e in kilograms, model cards in **grams**.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import yaml

from lightning_energy.meters.base import BOARDS
from lightning_energy.results.carbon import read_table
from lightning_energy.results.plain import cell
from lightning_energy.results.readable import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.figures import Device, Figures
    from lightning_energy.results.record import Record

__all__ = ["EMISSIONS_COLUMNS", "FormatError", "emissions_csv", "model_card"]

EMISSIONS_COLUMNS = (
    *("timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate"),
    *("cpu_power", "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed"),
    *("water_consumed", "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os"),
    *("python_version", "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude"),
    *("latitude", "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent"),
    *("ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue"),
)
"""The columns of CodeCarbon 3.3.2, in its order (``output_methods/emissions_data.py``)."""

# CodeCarbon's parts by the scope of a device
PARTS = {"gpu": "gpu", "board": "gpu", "package": "cpu", "processes": "cpu", "dram": "ram"}
G_PER_KG = 1000


class FormatError(ValueError):
    """A record lacks an input of a format. The text names it, and says how to give it."""


def _time_of(unix_s: float) -> str:
    """A time as CodeCarbon writes it; empty for one that no calendar has."""
    try:
        return datetime.fromtimestamp(unix_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return ""


def emissions_csv(record: Record) -> str:
    """A header and one row for the run, as CodeCarbon writes them.

    As there, energies (kWh) are those of the facility, multiplied by the PUE, and powers (W) those of the devices.
    ``emissions`` are in kilograms, and empty without a carbon intensity; so is every column that is not known
    (CodeCarbon's own version, its utilizations, water, coordinates), and the parts of the energy where they are not
    those of all the run: several sessions, ranks that are missing, devices that cover more than one part. The time is
    UTC.
    """
    report = record.report
    energy, derived = report.energy, report.derived
    pue = 1.0 if derived is None else derived.pue
    kg = None if derived is None or derived.co2eq_g is None else derived.co2eq_g / G_PER_KG
    region = derived.region if derived else None
    gpus = [d.name for d in report.devices if d.scope in BOARDS]
    row = {
        "timestamp": _time_of(record.updated_unix_s),
        "project_name": record.what.get("module", "lightning-energy"),
        "run_id": record.run_id,
        "duration": energy.duration_s,
        "emissions": kg,
        "emissions_rate": kg / energy.duration_s if kg is not None and energy.duration_s > 0 else None,
        **_parts(report, energy, pue),
        "energy_consumed": None if energy.energy_kwh is None else energy.energy_kwh * pue,
        "country_name": _country(region),
        "country_iso_code": region,
        "os": record.where.system,
        "python_version": record.where.versions.get("python"),
        "cpu_count": record.where.cpu_threads,
        "cpu_model": record.where.cpu,
        "gpu_count": len(gpus) if gpus and report.has_all_devices else None,
        "gpu_model": _counted(gpus) if report.has_all_devices else None,
        # whole devices, not the share of a process, but for the estimate
        "tracking_mode": "process" if {d.scope for d in report.devices} == {"processes"} else "machine",
        "pue": pue,
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, EMISSIONS_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerow({key: cell(one_line(value) if isinstance(value, str) else value) for key, value in row.items()})
    return text.getvalue().rstrip("\n")


def model_card(record: Record) -> str:
    """The block ``co2_eq_emissions`` for the front matter of a model card, in YAML; emissions in grams.

    Fields: https://huggingface.co/docs/hub/model-cards-co2. What is not known stands as a comment, to be filled in.

    Raises:
        FormatError: no carbon intensity is known, or no energy.
    """
    report = record.report
    energy, derived = report.energy, report.derived
    if derived is None or derived.carbon_intensity_g_per_kwh is None:
        raise FormatError(
            "a model card needs grams of CO2e, but no carbon intensity is known: give a country or g/kWh, e.g. "
            "--carbon-intensity DEU or --carbon-intensity 381 (in a Trainer: EnergyCallback(carbon_intensity='DEU'))"
        )
    if derived.co2eq_g is None:
        raise FormatError("the energy of this run is not known, so its CO2e is not known either")
    year = f", {derived.year}" if derived.year else ""
    version = record.where.versions.get("lightning-energy", "")
    it_only = " (IT energy only)" if derived.pue == 1 else ""
    source = (
        f"lightning-energy {version}: {energy.energy_kwh:.4g} kWh ({energy.quality}) x PUE {derived.pue:g}{it_only} x "
        f"{derived.carbon_intensity_g_per_kwh:g} g/kWh ({derived.source}{year})"
    )
    country = _country(derived.region)
    block = {
        "emissions": float(f"{derived.co2eq_g:.6g}"),
        "source": one_line(source),
        **({"geographical_location": country} if country else {}),
        "hardware_used": one_line(_hardware(report, record.where.cpu)),
    }
    comments = ["training_type:  # pre-training or fine-tuning: say which"]
    comments += [] if country else ["geographical_location:  # say where it was trained"]
    if energy.missing_s > 0:
        comments.append(f"the energy of {energy.missing_s:.4g} s of the training is not known, and not in it")
    text: str = yaml.safe_dump({"co2_eq_emissions": block}, sort_keys=False, allow_unicode=True, width=math.inf)
    return text + "\n".join(f"  # {comment}" for comment in comments)


def _parts(report: Figures, energy: Energy, pue: float) -> dict[str, float | None]:
    """Power and energy of CPU, GPU and memory, where the devices in the report are all there is."""
    is_whole = report.has_all_devices and energy.energy_j == report.session.energy_j
    if not is_whole or any(d.scope not in PARTS for d in report.devices):
        return {}
    row: dict[str, float | None] = {}
    for part in ("cpu", "gpu", "ram"):
        energies = [d.energy for d in report.devices if PARTS[d.scope] == part]
        row[f"{part}_power"] = _sum([e.power_w for e in energies])
        row[f"{part}_energy"] = _sum([e.energy_kwh and e.energy_kwh * pue for e in energies])
    return row


def _sum(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) if known and len(known) == len(values) else None


def _country(region: str | None) -> str | None:
    return None if region is None else read_table().get(region, {}).get("country", region)


def _counted(names: Sequence[str]) -> str | None:
    return ", ".join(f"{n} x {name}" for name, n in Counter(names).items()) or None


def _hardware(report: Figures, cpu: str) -> str:
    boards: list[Device] = [d for d in report.devices if d.scope in BOARDS]
    text = "; ".join(filter(None, (_counted([d.name for d in boards]), f"CPU: {cpu}")))
    return text if report.has_all_devices else f"{report.ranks} ranks, the first of them on {text}"
