"""Texts on which tokenizers differ: scripts, emoji, spaces, line ends, digits, short forms, accents apart."""

from hypothesis import strategies as st

FRAGMENTS = (
    "the owner winds", " it's", "I'LL", "we've'RE", "12345", "3.14", " 7", "½ Ⅷ", "漢字かな", "カナ", "한국어",
    "Ünïcode", "e\u0301a\u0308", "\u0391\u0392\u03b3", "Привет", "नमस्ते", "🦙", "\U0001f469\u200d\U0001f469", "  ",
    "   \n", "\r\n\r\n", "\t", "\n \n", " ", "def f(x):\n    return x", "/usr/bin//x", "...!?", "$%&",
    "camelCaseWord", "HTTPServer", "<s>", "\u2581x", "\u200b", "\ufb01",
)  # fmt: skip
CORPUS = " ".join(FRAGMENTS) * 4
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6), max_size=8).map("".join)
