from __future__ import annotations

import pytest

from lightning_energy.meters.nvml_models import coverage_of


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("NVIDIA A100-SXM4-80GB", 0.25),
        ("A100-PCIE-40GB", 0.25),
        ("NVIDIA A100 80GB PCIe", 0.25),
        ("NVIDIA H100 80GB HBM3", 0.25),
        ("NVIDIA H100 PCIe", 0.25),
        ("Quadro RTX 8000", 0.2),
        ("Tesla V100-SXM2-32GB", 0.5),
        ("Tesla P100-PCIE-16GB", 0.5),
        ("NVIDIA GeForce GTX 1080 Ti", 0.5),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA RTX A1000 6GB Laptop GPU", None),
        ("NVIDIA A10", None),
        ("NVIDIA A100X", None),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA H1000", None),
        ("NVIDIA RTX 8000", None),
        ("Quadro RTX 6000", None),
        ("", None),
    ],
)
def test_a_model_is_known_by_whole_words(name, share):
    assert coverage_of(name) == share
