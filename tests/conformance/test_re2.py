"""Regular expressions mean what they mean to RE2, or are refused with a sentence that says what to write."""

from __future__ import annotations

import json

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st
from waypost import Matcher, PatternError

_QUIET = re2.Options()
_QUIET.log_errors = False


def ours(expression: str) -> Matcher:
    return Matcher({"r": {"x": [{"regex": expression}]}})


def document(text: str) -> str:
    return json.dumps({"x": text})


TEXTS = (
    "",
    "a",
    "A",
    "ab",
    "a b",
    "é",
    "a\n",
    "٣",
    "7",
    "k",
    "\u212a",
    "\u017f",
    "_",
    "-",
    "gpt-4 x",
    "x gpt-4",
    "\x0b",
    " ",
    "[",
    "&",
)
ALIKE = (
    r".*\bgpt-4\b.*",
    r"\d+",
    r"\D+",
    r"\w",
    r"\W",
    r"[^\w]",
    r"[\d_]",
    r"[^\D]",
    r"\s",
    r"\S",
    r"[\s\S]",
    r"(?i)\w",
    r"(?i)k",
    r"(?i)[a-z]+",
    r"\B",
    r"a\Bb",
    r".",
    r"(?s).*",
    r"(?m)^a$\n?",
    r"(?U)a+b?",
    r"(?i:a)b",
    r"(?P<name>a)b?",
    r"\pL+",
    r"\p{Lu}",
    r"\p{Greek}",
    r"\P{L}",
    r"[[:alpha:]]",
    r"[[:^alpha:]]",
    r"[[:space:]]",
    r"[[:word:]-]",
    r"a{0,2}b?",
    r"\x41|\x{e9}",
    r"\a|\t|\n|\v",
    r"\Aa\z",
    r"^a$",
    r"|a",
    r"()",
    r"[-a]",
    r"[a-]",
    r"a|b*?",
    r"\-|\[|\&",
    r"a{1000}",
    r"\w{500}",
)


@pytest.mark.parametrize("expression", ALIKE)
def test_what_both_read_means_the_same(expression: str) -> None:
    matcher, theirs = ours(expression), re2.compile(expression, _QUIET)
    for text in TEXTS:
        assert (matcher.first(document(text)) == "r") == (theirs.fullmatch(text) is not None), text


REFUSED = {
    r"(?x)a": "the flags are i, m, s and U",
    r"(?u)a": "the flags are i, m, s and U",
    r"(?R:a)": "the flags are i, m, s and U",
    r"(?k)a": "the flags are i, m, s and U",
    r"a(?=b)": "look-around",
    r"(a)\1": "backreferences",
    r"\07": "write `\\x{…}`",
    r"\Qa\E": "`\\Q` is not supported",
    r"\C": "`\\C` is not supported",
    r"\u0041": "write `\\x{…}`",
    r"\b{start}a": "write `\\b`",
    r"\<a": "write `\\b`",
    r"[a&&b]": "write `\\&`",
    r"[a-z--b]": "write `\\&`",
    r"[a[b]]": "write `\\[`",
    r"[a[b]": "write `\\[`",
    r"a**": "parentheses",
    r"a{2}{3}": "parentheses",
    r"a{1001}": "at most 1000; use smaller repetitions",
    r"a{,3}": "{n,m}",
    r"\p{sc=Greek}": r"\p{Greek}",
    r"\p{Nonesuch}": "not found",
    r"\pl": "begin with a capital letter",
    r"[\p{LU}]": "begin with a capital letter",
    r"(": "unclosed group",
    r"{": "write `\\{`",
    r"a{": "write `\\{`",
    r"a{x}": "write `\\{`",
    r"[a": "unclosed character class",
    r"(\pL{1000}){1000}": "use smaller repetitions",
}


@pytest.mark.parametrize("expression", REFUSED)
def test_what_is_refused_says_what_to_write(expression: str) -> None:
    with pytest.raises(PatternError) as caught:
        ours(expression)
    message = caught.value.message
    assert "this regular expression cannot be used: " in message
    assert REFUSED[expression] in message
    assert "NFA" not in message
    assert "\n" not in message


_ATOMS = st.sampled_from(
    (
        *"abkA_7é",
        ".",
        r"\d",
        r"\D",
        r"\w",
        r"\W",
        r"\s",
        r"\S",
        r"\b",
        r"\B",
        "^",
        "$",
        "[ab]",
        "[^a]",
        r"[\dk]",
        r"[^\w]",
        r"\pL",
        r"\p{Lu}",
        "[[:alpha:]]",
        r"[^[:digit:]]",
        "(?i)",
        "(?i:k)",
        "(?s:.)",
        "(?m:^)",
        r"\x{e9}",
        r"\.",
        r"\-",
        "[a-k]",
    )
)


def _more(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.tuples(inner, st.sampled_from(("*", "+", "?", "*?", "{2}", "{1,2}", "{0,}")))
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map("|".join).map("({})".format),
        repeated.map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(_ATOMS, _more, max_leaves=8), st.text("abkA_7é \n٣\u017f\u212a-.", max_size=5))
@example(r"(?i)[^k]", "\u212a")
def test_any_expression_means_the_same(expression: str, text: str) -> None:
    theirs = re2.compile(expression, _QUIET)
    assert (ours(expression).first(document(text)) == "r") == (theirs.fullmatch(text) is not None)


@settings(max_examples=500, deadline=None)
@given(st.text(r"ab1\\dwsbBzAQE[]()^$|*+?{},-:.<>=!&~#pLPUimsx ", max_size=9), st.text("ab1 -", max_size=4))
def test_what_is_accepted_is_accepted_by_both(expression: str, text: str) -> None:
    try:
        matcher = ours(expression)
    except PatternError:
        return
    theirs = re2.compile(expression, _QUIET)
    assert (matcher.first(document(text)) == "r") == (theirs.fullmatch(text) is not None)
