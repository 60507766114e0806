"""Sharing of a device's joules between two updates of its counter, by mean powers that are fitted to the run."""
