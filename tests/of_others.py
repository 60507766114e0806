"""Warnings of others that processes of several ranks see, where all that are left are errors."""

from __future__ import annotations

import warnings

__all__ = ["errors_but"]

# what Lightning and torch say about each other and about this machine is not what is tested
OF_OTHERS = (
    ".*LeafSpec.*",
    ".*does not have many workers.*",
    ".*sync_dist=True.*val_acc.*",
    ".*val_acc.*sync_dist=True.*",
    ".*DistributedSampler.*",
)


def errors_but(*expected: str) -> None:
    """Turn warnings into errors, but for those of others and those that begin with one of these patterns."""
    warnings.simplefilter("error")
    for message in (*OF_OTHERS, *expected):
        warnings.filterwarnings("ignore", message=message)
