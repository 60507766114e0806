"""NVIDIA's library NVML: initialised once per process, asked with patience, and its errors explained."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.meters.base import MeterUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MW", "TRIES", "Answer", "ask", "library", "why"]

MW = 1e-3
"""Watts per milliwatt, and joules per millijoule: NVML gives these."""

TRIES = 3
"""Calls of a function that fails for no lasting reason."""

PAUSE_S = 0.01  # time between two of them
# the newest names in use; other packages with the name pynvml lack some of them
NEEDED = ("nvmlInitWithFlags", "nvmlDeviceGetFieldValues", "NVML_FI_DEV_POWER_INSTANT", "NVML_POWER_SCOPE_MODULE")
LACKING = ("NOT_SUPPORTED", "FUNCTION_NOT_FOUND")  # errors of a board, or a driver, that does not have a thing
# errors that do not pass
LASTING = (
    *LACKING,
    "NO_PERMISSION",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "LIBRARY_NOT_FOUND",
    "DRIVER_NOT_LOADED",
    "LIB_RM_VERSION_MISMATCH",
    "GPU_IS_LOST",
)

_lock = threading.Lock()
_initialised_by: int | None = None  # NVML is initialised once per process, and not inherited by a fork


class Answer(NamedTuple):
    """A driver's answer to one question.

    Attributes:
        value: the answer; ``None`` without one.
        error: the reason why there is none, with a remedy where there is one; empty when it was answered.
        is_lacking: true where the board or the driver does not have what was asked for, which is no fault.
        code: NVML's number of the error; 0 without one.
    """

    value: Any = None
    error: str = ""
    is_lacking: bool = False
    code: int = 0

    @property
    def is_known(self) -> bool:
        """True when the question was answered."""
        return not self.error

    @property
    def fault(self) -> str:
        """The reason why an answer is not there that should be; empty where the board just lacks the thing."""
        return "" if self.is_lacking else self.error


def library() -> Any:
    """The initialised ``pynvml``.

    Raises:
        MeterUnavailable: there is no NVML here; the text says what is missing.
    """
    global _initialised_by  # noqa: PLW0603 - a process has one NVML; a second init hangs on some drivers
    try:
        import pynvml  # noqa: PLC0415 - importing lightning_energy must not load it
    except ImportError as error:
        raise MeterUnavailable(f"GPU: pynvml cannot be imported ({error}): pip install nvidia-ml-py.") from error
    if not all(hasattr(pynvml, name) for name in NEEDED):
        raise MeterUnavailable(
            "GPU: the module pynvml is not NVIDIA's, or too old: pip uninstall pynvml; pip install -U nvidia-ml-py."
        )
    with _lock:
        if _initialised_by != os.getpid():
            begun = ask(pynvml, pynvml.nvmlInit)
            if not begun.is_known:
                raise MeterUnavailable(f"GPU: NVML cannot be used: {begun.error}.")
            _initialised_by = os.getpid()
    return pynvml


def ask(nvml: Any, function: Any, *arguments: Any, tries: int = TRIES) -> Answer:
    """Ask the driver, and ask again where it fails for no lasting reason.

    Args:
        nvml: the result of :func:`library`.
        function: one of its functions, or one that calls these.
        arguments: its arguments.
        tries: largest number of calls.
    """
    answer = Answer(error="not asked")
    for is_again in range(tries):
        if is_again:
            time.sleep(PAUSE_S)
        try:
            return Answer(function(*arguments))
        except nvml.NVMLError as error:
            answer = Answer(error=why(nvml, error), is_lacking=_is_one_of(LACKING, nvml, error), code=error.value)
            if _is_one_of(LASTING, nvml, error):
                break
        except getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError) as error:
            return Answer(error=str(error), is_lacking=True)  # the driver is too old for pynvml's newest version of it
    return answer


def _is_one_of(names: Sequence[str], nvml: Any, error: Any) -> bool:
    return error.value in {getattr(nvml, f"NVML_ERROR_{name}", None) for name in names}


def why(nvml: Any, error: Any) -> str:
    """Meaning of an NVML error, with a remedy where there is one."""
    remedies = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no libnvidia-ml.so.1 here; install the NVIDIA driver, or start the "
        "container with `docker run --gpus all`",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the driver is not loaded; `nvidia-smi` must work first",
        nvml.NVML_ERROR_NO_PERMISSION: "no permission; the device files /dev/nvidia* must be readable",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "driver and library have different versions; reboot or reload",
        nvml.NVML_ERROR_GPU_IS_LOST: "the GPU fell off the bus or was reset",
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the driver is too old for this function",
    }
    remedy = remedies.get(error.value)
    return f"{error}" + (f" ({remedy})" if remedy else "")
