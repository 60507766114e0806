"""Moves the tests and benchmarks that pages name in brackets into footnotes: ``python docs/make/proofs.py PAGE...``.

Write ``[`tests/test_callback.py::test_energy_survives_a_resume`]`` behind a sentence, then call this. It numbers all
footnotes of the page in their order, says before them what they are, and fills the lines of the paragraphs that it
changes. tests/test_docs.py checks that nothing is left to do.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

WIDTH = 120
SAID = "Each footnote names the test or the benchmark that holds a claim up."
PROOF = re.compile(r"\s*\[(`(?:tests|benchmarks)/[^\]]*)\](?!\()([.,;:]?)")
NEIGHBOURS = re.compile(r"(\[`(?:tests|benchmarks)/[^\]]*)\]\s*\[(?=`(?:tests|benchmarks)/)")
REFERENCE = re.compile(r"\[\^([\w-]+)\](?!:)")
NOTE = re.compile(r"^\[\^([\w-]+)\]: (.*)\n?", re.MULTILINE)
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
ITEM = re.compile(r"^ *(?:- |\d+\. )")
SIGN = re.compile(r" (?=[-+*#>=] )")  # would begin a list or a heading at the beginning of a line
KEPT, ASIDE = "\x00", "\x01"  # a space that stays, and the place of a block of code


def moved(page: str) -> str:
    """The page with its proofs in footnotes, numbered from 1 on."""
    notes = dict(NOTE.findall(page))
    body = NOTE.sub("", page).replace(f"{SAID}\n", "").rstrip() + "\n"
    code = FENCE.findall(body)
    body = FENCE.sub(ASIDE, body)
    body = "\n\n".join(_block(block, notes) for block in body.split("\n\n")).rstrip() + "\n"
    numbers: dict[str, int] = {}

    def number(reference: re.Match[str]) -> str:
        return f"[^{numbers.setdefault(notes[reference[1]], len(numbers) + 1)}]"

    body = REFERENCE.sub(number, body)
    body = re.sub(ASIDE, lambda _: code.pop(0), body)
    if not numbers:
        return body
    return f"{body}\n{SAID}\n" + "".join(f"\n[^{n}]: {text}" for text, n in numbers.items()) + "\n"


def _block(block: str, notes: dict[str, str]) -> str:
    """Lines between two empty ones; new notes are added to ``notes``."""
    if not PROOF.search(block):
        return block
    lines = block.split("\n")
    if any(line.startswith("|") for line in lines):
        return "\n".join(_without(line, notes) for line in lines)
    items: list[list[str]] = []
    for line in lines:
        if not items or ITEM.match(line):
            items.append([])
        items[-1].append(line)
    return "\n".join(_filled(item, notes) for item in items)


def _filled(lines: list[str], notes: dict[str, str]) -> str:
    text = "\n".join(lines)
    if not PROOF.search(text):
        return text
    text = " ".join(_without(text, notes).split())
    marker = ITEM.match(lines[0])
    first = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    later = " " * marker.end() if marker else first
    text = SIGN.sub(KEPT, text) if marker is None else text[:2] + SIGN.sub(KEPT, text[2:])
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(KEPT, " ")


def _without(text: str, notes: dict[str, str]) -> str:
    """The text with references in place of its proofs, behind a sign that follows one."""

    def reference(proof: re.Match[str]) -> str:
        name = f"new-{len(notes)}"
        notes[name] = " ".join(proof[1].split())
        return f"{proof[2]}[^{name}]"

    while NEIGHBOURS.search(text):
        text = NEIGHBOURS.sub(r"\1, ", text)
    return PROOF.sub(reference, text)


def main() -> None:
    """Rewrite the pages that are given."""
    for name in sys.argv[1:]:
        page = Path(name)
        page.write_text(moved(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
