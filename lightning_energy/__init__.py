"""Energy of PyTorch Lightning training."""
