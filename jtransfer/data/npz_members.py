"""Members of an archive as streams that never unpack more than is asked for.

`zipfile` unpacks a whole block of bzip2 or LZMA data at once, whatever it is asked for:
4 KB of a hostile archive are 80 MB in memory, and a directory that lies about the
length of a member hides how many such blocks follow.
"""

import bz2
import copy
import io
import lzma
import zipfile
import zlib
from typing import IO, Protocol

MAX_DICTIONARY = 2**27
"""Bytes that LZMA may look back; its presets stay within half of it."""
_PACKED = 2**16


def opened_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """Opens a member for reading its bytes in order.

    Args:
      archive: the archive.
      info: of the member.

    Returns:
      A stream that ends after the length that the directory declares, and checks the
      checksum there.

    Raises:
      ValueError: if the member is packed in a way that NumPy and zipfile do not know.
      OSError, zipfile.BadZipFile, RuntimeError: as `zipfile.ZipFile.open`.
    """
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return archive.open(info)  # Of these zipfile unpacks what it is asked for.
    if info.compress_type not in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        raise ValueError(f"it is packed by an unknown method, {info.compress_type}")
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    packed.CRC = None  # That of what is unpacked.
    stream = archive.open(packed)
    if info.compress_type == zipfile.ZIP_BZIP2:
        unpacker = bz2.BZ2Decompressor()
    else:
        unpacker = _lzma_unpacker(stream)
    return io.BufferedReader(_Unpacked(stream, unpacker, info), 2**13)


def _lzma_unpacker(stream: IO[bytes]) -> lzma.LZMADecompressor:
    """Reads the head of LZMA data in an archive: a version and the properties."""
    head = stream.read(4)
    properties = stream.read(int.from_bytes(head[2:4], "little"))
    if len(head) < 4 or len(properties) != 5:
        raise EOFError("the head of its LZMA data is no such head")
    (rest, lc), dictionary = divmod(properties[0], 9), properties[1:]
    pb, lp = divmod(rest, 5)
    size = int.from_bytes(dictionary, "little")
    if size > MAX_DICTIONARY:
        raise ValueError(f"its LZMA data asks for {size} bytes to look back")
    chain = {"id": lzma.FILTER_LZMA1, "dict_size": max(size, 4096)}
    chain |= {"lc": lc, "lp": lp, "pb": pb}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain])


class _Unpacker(Protocol):
    eof: bool
    needs_input: bool

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a stream, so many at a time as are asked for."""

    def __init__(self, stream: IO[bytes], unpacker: _Unpacker, info: zipfile.ZipInfo):
        self._stream, self._unpacker = stream, unpacker
        self._length = self._left = info.file_size
        self._checksum, self._expected = 0, info.CRC

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length - self._left

    def readinto(self, buffer) -> int:
        length = min(len(buffer), self._left)
        if not length:
            return 0
        piece = self._piece(length)
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        self._checksum = zlib.crc32(piece, self._checksum)
        if not self._left and self._checksum != self._expected:
            raise zipfile.BadZipFile("its checksum is another one")
        return len(piece)

    def _piece(self, length: int) -> bytes:
        while not self._unpacker.eof:
            packed = b""
            if self._unpacker.needs_input:
                packed = self._stream.read(_PACKED)
                if not packed:
                    break
            piece = self._unpacker.decompress(packed, length)
            if piece:
                return piece
        raise EOFError("its packed data end early")

    def close(self) -> None:
        self._stream.close()
        super().close()
