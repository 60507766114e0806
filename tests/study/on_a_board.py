"""A module that opens a GPU, as far as its files say."""

from __future__ import annotations

import os

from lightning_energy.study import template

template.DEVICES = ("/dev/zero",)
os.open("/dev/zero", os.O_RDONLY)
