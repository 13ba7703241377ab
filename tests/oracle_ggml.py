"""The blocks of GGUF's quantized types, one value after the other, by the format's definition in ggml."""

import struct

import numpy as np

NONLINEAR = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def half(block, at):
    return struct.unpack_from("<e", block, at)[0]


def q8_0(block):
    return [half(block, 0) * each for each in struct.unpack_from("<32b", block, 2)]


def nibbles(block, at):
    """Sixteen bytes: their low halves are the first sixteen values, their high halves the others."""
    return [block[at + l] & 15 for l in range(16)] + [block[at + l] >> 4 for l in range(16)]


def q4_0(block):
    return [half(block, 0) * (each - 8) for each in nibbles(block, 2)]


def q4_1(block):
    return [half(block, 0) * each + half(block, 2) for each in nibbles(block, 4)]


def fifth_bits(block, at):
    (bits,) = struct.unpack_from("<I", block, at)
    return [(bits >> l & 1) << 4 for l in range(32)]


def q5_0(block):
    values = zip(nibbles(block, 6), fifth_bits(block, 2), strict=True)
    return [half(block, 0) * ((low | high) - 16) for low, high in values]


def q5_1(block):
    values = zip(nibbles(block, 8), fifth_bits(block, 4), strict=True)
    return [half(block, 0) * (low | high) + half(block, 2) for low, high in values]


def q2_k(block):
    scales, d, least = block[:16], half(block, 80), half(block, 82)
    values = []
    for l in range(256):
        chunk, within = divmod(l, 128)
        shift, at = divmod(within, 32)
        scale = scales[l // 16]
        quant = block[16 + 32 * chunk + at] >> 2 * shift & 3
        values.append(d * (scale & 15) * quant - least * (scale >> 4))
    return values


def q3_k(block):
    packed, d = block[96:108], half(block, 108)
    values = []
    for l in range(256):
        j = l // 16
        low = packed[j] & 15 if j < 8 else packed[j - 8] >> 4
        scale = (low | (packed[8 + j % 4] >> 2 * (j // 4) & 3) << 4) - 32
        chunk, within = divmod(l, 128)
        shift, at = divmod(within, 32)
        quant = block[32 + 32 * chunk + at] >> 2 * shift & 3
        is_high = block[at] >> (4 * chunk + shift) & 1
        values.append(d * scale * (quant - (0 if is_high else 4)))
    return values


def scale_and_least(packed, j):
    if j < 4:
        return packed[j] & 63, packed[j + 4] & 63
    scale = packed[j + 4] & 15 | packed[j - 4] >> 6 << 4
    return scale, packed[j + 4] >> 4 | packed[j] >> 6 << 4


def q4_k(block):
    return _with_least(block, 16, lambda l: 0)


def q5_k(block):
    return _with_least(block, 48, lambda l: (block[16 + l % 32] >> l // 32 & 1) << 4)


def _with_least(block, quants_at, high):
    d, d_least = half(block, 0), half(block, 2)
    values = []
    for l in range(256):
        byte = block[quants_at + 32 * (l // 64) + l % 32]
        quant = (byte >> 4 if l % 64 >= 32 else byte & 15) | high(l)
        scale, least = scale_and_least(block[4:16], l // 32)
        values.append(d * scale * quant - d_least * least)
    return values


def q6_k(block):
    scales, d = struct.unpack_from("<16b", block, 192), half(block, 208)
    values = []
    for l in range(256):
        chunk, within = divmod(l, 128)
        quarter, at = divmod(within, 32)
        byte = block[64 * chunk + at + 32 * (quarter % 2)]
        low = byte >> 4 if quarter >= 2 else byte & 15
        high = block[128 + 32 * chunk + at] >> 2 * quarter & 3
        values.append(d * scales[l // 16] * ((low | high << 4) - 32))
    return values


def iq4_nl(block):
    return [half(block, 0) * NONLINEAR[each] for each in nibbles(block, 2)]


def iq4_xs(block):
    (high,) = struct.unpack_from("<H", block, 2)
    values = []
    for group in range(8):
        low = block[4 + group // 2] >> 4 * (group % 2) & 15
        scale = (low | (high >> 2 * group & 3) << 4) - 32
        values += [half(block, 0) * scale * NONLINEAR[each] for each in nibbles(block, 8 + 16 * group)]
    return values


# type -> (bytes of a block, where its half-precision numbers stand, the formula)
BLOCKS = {
    "Q8_0": (34, (0,), q8_0),
    "Q4_0": (18, (0,), q4_0),
    "Q4_1": (20, (0, 2), q4_1),
    "Q5_0": (22, (0,), q5_0),
    "Q5_1": (24, (0, 2), q5_1),
    "Q2_K": (84, (80, 82), q2_k),
    "Q3_K": (110, (108,), q3_k),
    "Q4_K": (144, (0, 2), q4_k),
    "Q5_K": (176, (0, 2), q5_k),
    "Q6_K": (210, (208,), q6_k),
    "IQ4_NL": (18, (0,), iq4_nl),
    "IQ4_XS": (136, (0,), iq4_xs),
}


def random_blocks(kind, rows, blocks_a_row, seed=0):
    """Bytes of random blocks, their half-precision numbers finite: shape (rows, bytes)."""
    size_bytes, halves, _ = BLOCKS[kind]
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (rows * blocks_a_row, size_bytes), dtype=np.uint8)
    for at in halves:
        numbers = generator.standard_normal((len(blocks), 1)).astype("<f2")
        blocks[:, at : at + 2] = numbers.view(np.uint8)
    return blocks.reshape(rows, -1)


def dequantized(kind, raw):
    """Rows of bytes as rows of values."""
    size_bytes, _, formula = BLOCKS[kind]
    rows = [np.concatenate([formula(bytes(block)) for block in row.reshape(-1, size_bytes)]) for row in raw]
    return np.stack(rows)
