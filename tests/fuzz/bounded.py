"""How much random input each test gets, and what it is made of. The same input in every run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

BOUNDED = settings(
    max_examples=500,
    derandomize=True,  # the seed is the test itself
    database=None,
    deadline=None,  # the machine may be slow; a test that hangs meets its time limit
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

PIECES = st.sampled_from(
    [
        "The answer is ", "So the answer is ", "answer is", "\\boxed{", "\\text{", "\\frac{1}{2}", "{", "}", "**", "(",
        ")", "[", "]", "A", "(B)", "C.", "yes", "No", "true", "not ", "and ", "or ", "because ", "9" * 60, "1/0", "0.5",
        "1,000", "-", "−", "$", "%", "=", "+", "*", "/", "^", ".", ",", ":", ";", "?", " ", "\n", "\t", "\r", "Q:",
        "Question:", "Step 1: ", "####", "```", "<b>", "é", "中", "e\u0301", "\x00", "\u202e", "\u2028", "\ud800",
        "٣", "½", "Ⅷ",
    ]
)  # fmt: skip
"""What the patterns that read answers look for, and what text can hold beside it."""

WRITTEN = st.lists(st.one_of(PIECES, st.text(max_size=4), st.integers().map(str)), max_size=25).map("".join)
"""Something that a model might have written."""

CELL = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), PIECES),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
"""Any value that JSON can hold."""
