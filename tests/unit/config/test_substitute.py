from __future__ import annotations

import pytest
from waypost.config.substitute import SubstitutionError, substitute

ENVIRON = {"NAME": "value", "NONE": "", "SNEAKY": "${NAME}"}


def read(path: str) -> str:
    if path == "missing":
        raise ValueError(path)
    return f"<{path}>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain $ {text}", "plain $ {text}"),
        ("${NAME}", "value"),
        ("a${NAME}b${NAME}", "avaluebvalue"),
        ("${NONE}", ""),
        ("${NONE:-x}", "x"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b c}", "a:-b c"),
        ("${NAME:-x}", "value"),
        ("${file:/run/secrets/key}", "</run/secrets/key>"),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$${NAME}"),
        ("${SNEAKY}", "${NAME}"),
    ],
)
def test_references_are_replaced_once(text: str, expected: str) -> None:
    assert substitute(text, ENVIRON, read) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${UNSET}", "environment variable `UNSET` is not set"),
        ("${", "no closing `}`"),
        ("${}", "is not a reference"),
        ("${1X}", "is not a reference"),
        ("${A B}", "is not a reference"),
        ("${NAME:=x}", "is not a reference"),
        ("${A:-${B}}", "cannot contain another"),
        ("${file:}", "does not name a file"),
    ],
)
def test_a_reference_that_cannot_be_replaced_says_why(text: str, why: str) -> None:
    with pytest.raises(SubstitutionError, match=why):
        substitute(text, ENVIRON, read)


def test_all_references_of_a_string_are_reported() -> None:
    with pytest.raises(SubstitutionError) as caught:
        substitute("${ONE} ${NAME} ${TWO}", ENVIRON, read)
    assert len(caught.value.messages) == 2


def test_many_openings_take_linear_time() -> None:
    with pytest.raises(SubstitutionError):
        substitute("${" * 200_000, {}, read)
