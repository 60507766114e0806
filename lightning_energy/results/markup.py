"""The parts that HTML pages share: text of others as markup, a template, and a policy that lets nothing be loaded."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import string
from importlib.resources import files

__all__ = ["UNKNOWN", "clean", "escaped", "fill_page", "name"]

UNKNOWN = "&ndash;"
SHARED_STYLE = "/* @shared */\n"


class _Template(string.Template):
    """Placeholders that neither CSS nor JavaScript knows. None is filled in twice, nor read again."""

    delimiter = "@@"


def clean(text: object) -> str:
    r"""Text that every encoding and every parser keeps: what does not print becomes a visible sign.

    Example:
        >>> clean("a\x00b")
        'a␀b'
    """
    kept = str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # a lone surrogate: U+FFFD
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda c: chr(0x2400 + ord(c[0])) if c[0] < " " else "\ufffd", kept)


def escaped(text: object) -> str:
    """Text as markup, good for an element and for a quoted attribute."""
    return html.escape(clean(text))


def name(text: object) -> str:
    """A name from elsewhere, as markup: it may run from right to left, and must not turn its neighbours around."""
    return f'<bdi dir="auto">{escaped(text)}</bdi>'


def fill_page(package: str | None, file: str, **fields: str) -> str:
    """Fill in the template of a page, which has the style that all pages share.

    Args:
        package: the package that the template lies in.
        file: its name.
        fields: markup by placeholder; ``csp`` is made here.
    """
    template = files(str(package)).joinpath(file).read_text(encoding="utf-8")
    shared = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    template = template.replace(SHARED_STYLE, shared, 1)
    return _Template(template).substitute(csp=_policy(template), **fields)


def _policy(template: str) -> str:
    """Let only the template's own script and style act, known by their hashes, and let nothing be loaded."""
    policies = ["default-src 'none'"]
    for tag in ("script", "style"):
        for content in re.findall(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            policies.append(f"{tag}-src 'sha256-{digest}'")
    return "; ".join([*policies, "img-src data:", "base-uri 'none'", "form-action 'none'"])
