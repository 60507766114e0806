"""Hooks of mkdocs: files of the repository that pages link to come along, as they have no address of their own yet."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = "source"
WORKER = "assets/worker.js"
SHIM = re.compile(r'src="https://unpkg\.com/iframe-worker/shim"')
LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]+)")


def outside(page: str, target: str) -> str | None:
    """The path of a linked file in the repository; ``None`` for one within the documentation."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    return None if path.startswith("docs/") or not (ROOT / path).is_file() else path


def on_files(files: Any, config: Any) -> Any:
    """Add the files that pages link to."""
    linked = set()
    for page in files.documentation_pages():
        targets = [target for _, target in LINK.findall(page.content_string)]
        linked |= {path for target in targets if (path := outside(page.src_uri, target))}
    for path in sorted(linked):
        name = f"{PLACE}/{path}.txt"  # a browser shows it
        files.append(File.generated(config, name, content=(ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001 - mkdocs' names
    """Lead links to these files."""
    here = page.file.src_uri

    def lead(link: re.Match[str]) -> str:
        path = outside(here, link[2])
        if path is None:
            return link[0]
        return link[1] + posixpath.relpath(f"{PLACE}/{path}.txt", posixpath.dirname(here) or ".")

    return LINK.sub(lead, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:  # noqa: ARG001 - mkdocs' names
    """Take our own file instead of the one that the theme loads from elsewhere."""
    return SHIM.sub(f'src="{posixpath.relpath(WORKER, posixpath.dirname(page.url) or ".")}"', output)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:  # noqa: ARG001 - mkdocs' names
    """Do the same in the page for what is not found."""
    return SHIM.sub(f'src="{WORKER}"', output_content)
