"""EnergyCallback in a LightningCLI, built from YAML.

python examples/cli.py fit --config examples/cli.yaml
"""

from __future__ import annotations

import torch
from lightning.pytorch.cli import LightningCLI
from quickstart import Digits, DigitsNet

if __name__ == "__main__":
    # so small a network needs no second thread; threads that wait for each other take CPU time on a busy machine
    torch.set_num_threads(1)
    LightningCLI(DigitsNet, Digits, save_config_kwargs={"overwrite": True})
