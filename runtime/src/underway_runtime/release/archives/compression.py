"""zstd and gzip as streams that are read a bounded piece at a time.

zstd is the standard library's from Python 3.14 on, and before it the backport, which ships with the runtime; it is
imported when it is first needed.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

from ..errors import UnderwayError

LEVEL = 3
"""Of zstd: level 19 saves a quarter of the bytes for a hundred times the time."""

WINDOW_LOG = 23
"""8 MiB, what each decoder of zstd must offer: the most that an archive may ask of a reader's memory."""

_PATCH_LEVEL, _FAR_LEVEL, _FAR = 12, 9, 64 << 20
"""Of patches: the tables of level 12 see some 64 MiB; beyond that it takes long-distance matching, which sees less of what
is near (590 kB without it and 620 kB with it for a new pydantic-core; level 3 844 kB; level 19 524 kB in 20 times the time)."""

_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08\x00"  # the last byte: no extra fields, no name, no comment
_PIECE = 1 << 18


class CompressionMissing(UnderwayError):
    """This interpreter can't do what the file needs."""


class Corrupt(ValueError):
    """The bytes of a file are not what they have to be. Who knows the file's name turns this into a refusal."""


class Readable(Protocol):
    """All that is asked of a compressed file."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end."""
        ...


class Encoder(Protocol):
    """A stream of compressed bytes in the making."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Decoder(Protocol):
    """What bz2, lzma and zstd of the standard library have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


def zstd() -> Any:
    """The module for zstd. Raises CompressionMissing where there is none."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    with suppress(ImportError):
        return importlib.import_module(name)
    raise CompressionMissing(
        'this Python has no zstd; add backports.zstd to it, or make archives with tar = "gz" in [tool.underway]'
    )


def encoder(suffix: str) -> Encoder:
    """Compresses to ``.zst`` or ``.gz``; the same bytes for the same input and the same library."""
    if suffix == ".gz":
        return zlib.compressobj(6, wbits=31)
    module = zstd()
    parameter = module.CompressionParameter
    options = {
        parameter.compression_level: LEVEL,
        parameter.checksum_flag: 1,
        parameter.window_log: WINDOW_LOG,  # 2 % less than with the window that the level would choose, in the same time
        parameter.enable_long_distance_matching: 1,
    }
    made: Encoder = module.ZstdCompressor(options=options)
    return made


def patch_encoder(prefix: bytes, size: int) -> Encoder:
    """Compresses `size` bytes by what they share with `prefix`, however far away."""
    module = zstd()
    parameter = module.CompressionParameter
    far = len(prefix) + size > _FAR
    options = {
        parameter.compression_level: _FAR_LEVEL if far else _PATCH_LEVEL,
        parameter.checksum_flag: 1,
        parameter.window_log: patch_window_log(len(prefix), size),
        parameter.enable_long_distance_matching: int(far),
    }
    made = module.ZstdCompressor(options=options, zstd_dict=_prefix(module, prefix))
    made.set_pledged_input_size(size)
    whole: Encoder = made
    return whole


def patch_window_log(prefix: int, size: int) -> int:
    """The window that reaches from the end of `size` bytes to the beginning of the prefix, as zstd counts it."""
    return max(10, (prefix + size).bit_length())


class Stream:
    """Bytes that come in pieces of any size, to be read in pieces of wanted sizes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._ahead = pieces, memoryview(b"")

    def read(self, size: int) -> bytes:
        """Read the next bytes, at most `size`; none at the end."""
        while not self._ahead:
            if (piece := next(self._pieces, None)) is None:
                return b""
            self._ahead = memoryview(piece)
        piece, self._ahead = bytes(self._ahead[:size]), self._ahead[size:]
        return piece

    def read_exactly(self, size: int) -> bytes:
        """Read the next `size` bytes; fewer only at the end."""
        pieces, missing = [], size
        while missing and (piece := self.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """Raise Corrupt unless everything was read."""
        if self.read(1):
            raise Corrupt("it goes on after its end")


def decompress(file: Readable) -> Stream:
    """What a file compressed with zstd or gzip holds; its first bytes say which.

    Raises Corrupt for any other, for what does not decode or is cut off, and for a file that goes on after the one stream.
    """
    start = file.read(len(_ZSTD))
    if start == _ZSTD:
        module = zstd()
        options = {module.DecompressionParameter.window_log_max: WINDOW_LOG}
        return Stream(_decoded(file, module.ZstdDecompressor(options=options), (module.ZstdError,), start))
    if start == _GZIP:
        return Stream(_decoded(file, _Gunzip(), (zlib.error,), start))
    raise Corrupt("it is neither a .tar.zst nor a .tar.gz that underway made")


def patched(file: Readable, prefix: bytes, size: int) -> Stream:
    """What `patch_encoder` was given.

    Takes no more memory than the prefix and `size` bytes. Raises as `decompress` does.
    """
    module = zstd()
    options = {module.DecompressionParameter.window_log_max: patch_window_log(len(prefix), size)}
    decoder = module.ZstdDecompressor(zstd_dict=_prefix(module, prefix), options=options)
    return Stream(_decoded(file, decoder, (module.ZstdError,), b""))


def _decoded(file: Readable, decoder: Decoder, errors: tuple[type[Exception], ...], data: bytes) -> Iterator[bytes]:
    while not decoder.eof:
        if decoder.needs_input and not data and not (data := file.read(_PIECE)):
            raise Corrupt("it is cut off")
        try:
            piece = decoder.decompress(data, max_length=_PIECE)
        except errors as error:
            raise Corrupt(f"it can't be decompressed: {error}") from None
        data = b""
        if piece:
            yield piece
    if decoder.unused_data or file.read(1):
        raise Corrupt("something follows its compressed data")


class _Gunzip:
    """zlib's decoder with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length  # there may be more to come without any input
        return out


def _prefix(module: Any, prefix: bytes) -> Any:
    # Less than 8 bytes are no dictionary to zstd.
    return module.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= 8 else None
