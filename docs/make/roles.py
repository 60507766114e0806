"""Docstrings as mkdocstrings reads them: their roles become links, and their examples a section of code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    from griffe import Object

ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`(~?)([\w.]+)`")
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


def link(role: re.Match[str]) -> str:
    """A link where the name has a place on the site, else its text."""
    path = role[2]
    return f'<autoref optional identifier="{path}"><code>{path.rpartition(".")[2]}</code></autoref>'


class Roles(griffe.Extension):
    """Translate every docstring of the package."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Translate one."""
        if obj.docstring is not None:
            text = EXAMPLE.sub(r"\1Examples:", ROLE.sub(link, obj.docstring.value))
            obj.docstring.value = text.replace("``", "`")
