"""The bytes that one id stands for, whatever the vocabulary writes them as."""

import functools
import re

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@functools.cache
def byte_alphabet() -> dict[str, int]:
    """The visible character that byte-level vocabularies write for each byte (GPT-2, section 2.2).

    Printable bytes of Latin-1 stand for themselves, the others, in order, for the characters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(0x100 + place): byte for place, byte in enumerate(others)}


def bytes_of(piece: str, *, is_byte_level: bool) -> bytes:
    """The bytes of a piece of a vocabulary: byte-level, SentencePiece or WordPiece."""
    if is_byte_level:
        alphabet = byte_alphabet()
        if all(character in alphabet for character in piece):
            return bytes(alphabet[character] for character in piece)
        return piece.encode()
    byte = BYTE.fullmatch(piece)
    if byte is not None:
        return bytes([int(byte[1], 16)])
    return piece.removeprefix("##").replace("\u2581", " ").encode()
