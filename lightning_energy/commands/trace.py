"""``lightning-energy trace``: the power of a run beside the kernels of a PyTorch profile."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_energy.commands.console import add_run, complain
from lightning_energy.commands.exits import Exit
from lightning_energy.results.own_files import is_record
from lightning_energy.results.power_track import TrackError, merge, read_profile
from lightning_energy.results.readable import si
from lightning_energy.results.record import NAME
from lightning_energy.results.record_ranks import load_record
from lightning_energy.results.write import write_whole

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

ENDINGS = (".json.gz", ".json")
FASTEST = 1  # of gzip: such files are large


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Add the power of a run to the Chrome trace that torch.profiler's export_chrome_trace() wrote in it: a track "
        'for each device, and slices of steps and phases where the run kept them (trace="csv" or "parquet"), for '
        "Perfetto or chrome://tracing. Exit code 2: a file cannot be read or written, or the two "
        "are not of the same time."
    )
    add_run(parser)
    parser.add_argument("--merge", type=Path, required=True, metavar="TRACE", help="the trace, .json or .json.gz")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="the file to write (default: TRACE with .power in its name)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the trace with tracks of power, and return the exit code."""
    trace, out = arguments.merge, arguments.output or _beside(arguments.merge)
    try:
        _check_place(trace, out)
        place = Path(arguments.run)
        merged = merge(read_profile(trace), trace, load_record(place), place / NAME if place.is_dir() else place)
        content = json.dumps(merged.document, separators=(",", ":")).encode()
        write_whole(out, gzip.compress(content, FASTEST) if out.suffix == ".gz" else content)
    except MemoryError:
        complain("trace", f"{trace} needs more memory than there is: profile fewer steps, or use a larger machine")
        return Exit.WRONG_INPUT
    except ValueError as error:  # a record or a trace that is wrong
        complain("trace", error)
        return Exit.WRONG_INPUT
    except OSError as error:
        complain("trace", f"{error.filename or trace}: {error.strerror or error}: give another file or place")
        return Exit.WRONG_INPUT
    devices = f"{merged.tracks} device{'s' if merged.tracks > 1 else ''}"
    work = f", and {merged.slices:,} slices of stages, steps and phases" if merged.slices else ""
    spacing = si(merged.spacing_s, "s", digits=2)
    sys.stderr.write(f"wrote {out}: the power of {devices} in {merged.values:,} values, {spacing} apart{work}\n")
    return Exit.FINE


def _beside(trace: Path) -> Path:
    """The file that is written unless another is given: ``trace.power.json`` beside ``trace.json``."""
    ending = next((e for e in ENDINGS if trace.name.lower().endswith(e)), trace.suffix)
    return trace.with_name(f"{trace.name[: len(trace.name) - len(ending)]}.power{ending}")


def _check_place(trace: Path, out: Path) -> None:
    why = ""
    if out.is_dir():
        why = "a folder"
    elif out.exists() and out.samefile(trace):
        why = "the trace itself, which stays as it is"
    elif is_record(out):
        why = "a record, which stays as it is"
    if why:
        raise TrackError(f"{out} is {why}: give the name of another file with -o")
