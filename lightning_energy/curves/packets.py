"""Messages of any length over a socket that keeps packets apart, and takes none above some length."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MOST_BYTES", "joined", "packets"]

MOST_BYTES = 1 << 15
"""Length of the longest packet."""

MORE, LAST = b"+", b"."  # first byte of a packet


def packets(message: bytes) -> Iterator[bytes]:
    """The packets of a message.

    Example:
        >>> [*packets(b"hello")]
        [b'.hello']
    """
    length = MOST_BYTES - 1
    last = max(len(message) - 1, 0) // length * length
    for first in range(0, last + 1, length):
        yield (LAST if first == last else MORE) + message[first : first + length]


def joined(first: bytes, receive: Callable[[], bytes]) -> bytes:
    """The message that begins with a packet; empty where the socket ends before the message does.

    Args:
        first: the packet.
        receive: the next one; empty where there is none any more.

    Example:
        >>> joined(b"+hel", iter([b".lo"]).__next__)
        b'hello'
    """
    parts, packet = [first[1:]], first
    while packet[:1] == MORE:
        packet = receive()
        parts.append(packet[1:])
    return b"".join(parts) if packet else b""
