"""A module that starts a thread, which no fork has."""

from __future__ import annotations

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
