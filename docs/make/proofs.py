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
FENCE = re.compile(r"^[ >]*(`{3,}|~{3,})[^\n`]*$.*?(?:^[ >]*\1[`~]*[ \t]*$|(?=\s*\Z))", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\s*\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
QUOTE = re.compile(r"^ *> ?")
ITEM = re.compile(r"^ *(?:- |\d+\. )")
SIGN = re.compile(r" (?=[-+*#>=] )")  # would begin a list or a heading at the beginning of a line
KEPT, ASIDE, FILL = "\x00", "\x01", "\x02"  # a space that stays, a place of code, and what makes it as long as that
PLACE = re.compile(rf"{ASIDE}(\d+){FILL}*{ASIDE}")


def moved(page: str) -> str:
    """The page with its proofs in footnotes, numbered from 1 on. Code stays as it is, whatever it looks like."""
    code: list[str] = []

    def aside(part: re.Match[str]) -> str:
        code.append(part[0])
        length = len(" ".join(part[0].split()))
        return f"{ASIDE}{len(code) - 1}{FILL * (length - 2 - len(str(len(code) - 1)))}{ASIDE}"

    def aside_if_misleading(span: re.Match[str]) -> str:
        return aside(span) if len(span[1]) > 1 or "[^" in span[2] else span[0]

    body = SPAN.sub(aside_if_misleading, FENCE.sub(aside, page))
    notes = dict(NOTE.findall(body))
    body = _blocks(NOTE.sub("", body).replace(f"{SAID}\n", "").rstrip(), notes, WIDTH).rstrip() + "\n"
    numbers: dict[str, int] = {}

    def number(reference: re.Match[str]) -> str:
        return f"[^{numbers.setdefault(notes[reference[1]], len(numbers) + 1)}]"

    body = REFERENCE.sub(number, body)
    if numbers:
        body += f"\n{SAID}\n" + "".join(f"\n[^{n}]: {text}" for text, n in numbers.items()) + "\n"
    while PLACE.search(body):  # a span may hold the place of another
        body = PLACE.sub(lambda place: code[int(place[1])], body)
    return body


def _blocks(text: str, notes: dict[str, str], width: int) -> str:
    return "\n\n".join(_block(block, notes, width) for block in text.split("\n\n"))


def _block(block: str, notes: dict[str, str], width: int) -> str:
    """Lines between two empty ones; new notes are added to ``notes``."""
    lines = block.split("\n")
    if all(QUOTE.match(line) for line in lines):
        mark = QUOTE.match(lines[0])[0]  # type: ignore[index]  # it matches
        inside = _blocks("\n".join(QUOTE.sub("", line) for line in lines), notes, width - len(mark))
        return block if inside == "\n".join(QUOTE.sub("", line) for line in lines) else _in_quotes(inside, mark)
    if not PROOF.search(block):
        return block
    if any(line.startswith("|") or QUOTE.match(line) for line in lines):
        return "\n".join(_without(line, notes) for line in lines)
    items: list[list[str]] = []
    for line in lines:
        if not items or ITEM.match(line) or _is_code(line) or _is_code(items[-1][-1]):
            items.append([])
        items[-1].append(line)
    return "\n".join(_filled(item, notes, width) for item in items)


def _is_code(line: str) -> bool:
    """True for a line that is a block of code."""
    return PLACE.fullmatch(line.strip()) is not None


def _in_quotes(text: str, mark: str) -> str:
    return "\n".join((mark + line).rstrip() for line in text.split("\n"))


def _filled(lines: list[str], notes: dict[str, str], width: int) -> str:
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
        width,
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
