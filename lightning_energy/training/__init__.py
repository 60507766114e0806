"""The part of the package that knows the Trainer: stages, steps, validations, the memory of a run, its outputs."""
