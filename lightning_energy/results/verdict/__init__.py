"""The verdict on a run: a ranked list of changes that would save energy in it."""
