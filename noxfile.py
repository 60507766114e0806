"""One word for each task in this repository; ``nox -l`` lists them, ``nox`` alone does the quick ones.

Every session has a virtual environment of its own, kept between calls. ``nox --no-venv -s lint`` uses the environment
that nox itself runs in, for instance the one of CONTRIBUTING.md, and installs nothing.
"""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "types", "fast"]
nox.options.reuse_venv = "yes"

EXTRAS = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]
DEV, DOCS = EXTRAS["dev"], EXTRAS["docs"]


def install(session: nox.Session, *what: str) -> None:
    """Install under the constraints, where there is an environment to install into."""
    if session.venv_backend != "none":
        session.install("-c", "constraints.txt", *what)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    install(session, *(requirement for requirement in DEV if requirement.startswith("ruff")))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package with mypy, strictly."""
    install(session, "-e", ".[dev]")
    session.run("mypy", *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that take under a minute together."""
    install(session, "-e", ".[test]")
    session.run("pytest", "-n", "2", "--dist", "worksteal", "-m", "not slow", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, on all cores."""
    install(session, "-e", ".[test]")
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Build the documentation's site in `site/`, with warnings as errors."""
    install(session, *DOCS)
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Take a first look at the cost of measuring, target by target; needs a C compiler and a quiet machine."""
    install(session, "-e", ".[test]")
    session.run("python", "benchmarks/scale.py", "--quick", *session.posargs)
