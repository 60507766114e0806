"""EnergyCallback in a LightningCLI, built from YAML.

python examples/cli.py fit --config examples/cli.yaml
"""

from __future__ import annotations

from lightning.pytorch.cli import LightningCLI
from quickstart import Digits, DigitsNet

if __name__ == "__main__":
    LightningCLI(DigitsNet, Digits, save_config_kwargs={"overwrite": True})
