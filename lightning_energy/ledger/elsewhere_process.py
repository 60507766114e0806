"""The process that works out bookings: ``python -c "…main()" PARENT RELEASE``, started by ``elsewhere.py``."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from lightning_energy.curves.side_process import serve_parent, set_timeout
from lightning_energy.ledger.booking import work_out
from lightning_energy.ledger.elsewhere import Done, receive, send

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "serve"]

LOOK_S = 5.0  # time between two looks, while nothing comes, whether the parent lives: others may hold its socket's end


def serve(sock: socket.socket, parent: int, _: Sequence[str] = ()) -> None:
    """Work out bookings until the parent has enough, or is gone.

    Args:
        sock: connected with the parent.
        parent: its process identifier.

    Raises:
        OSError: the parent is gone.
        EOFError: the parent has enough.
    """
    set_timeout(sock, socket.SO_RCVTIMEO, LOOK_S)

    def wait() -> None:
        if os.getppid() != parent:
            raise EOFError

    while True:
        due, groups = receive(sock, wait)
        send(sock, Done.of(work_out(due, groups)))


def main() -> None:
    """Work out bookings until the parent has enough, or is gone."""
    serve_parent(serve, EOFError)
