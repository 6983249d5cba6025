"""Run a public suite of JSON files against `Matcher`; the suites themselves are not kept here.

    python tests/conformance/json_suite.py DIRECTORY...

Knows the names of JSONTestSuite's `test_parsing` (github.com/nst/JSONTestSuite: `y_` is valid, `n_` is not, `i_` is for
the reader to decide) and of JSON_checker (json.org: `pass` and `fail`). Duplicate keys count as valid here, and
nesting up to 1,024; both are settings of `Matcher`. What is ours to decide is decided in `DECIDED`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from waypost import EnvelopeError, Matcher

DECIDED = {
    "i_number_": True,  # Numbers of any size are exact.
    "i_structure_500_nested_arrays": True,  # Within the depth that is allowed here.
    "i_": False,  # Half surrogate pairs, what is no UTF-8, a byte order mark.
    "fail01": True,  # RFC 8259, section 2: a document may be any value,
    "fail1.": True,
    "fail18": True,  # and nested more than twenty deep.
    "y_": True,
    "n_": False,
    "pass": True,
    "fail": False,
}
"""Whether files whose names begin so are documents; the first that fits."""

MATCHER = Matcher({"none": {"a": [{"exists": False}]}}, duplicate_keys="last", depth=1024)


def refusal(body: bytes) -> str:
    """Why it is no document; nothing if it is one."""
    try:
        MATCHER.first(body)
    except EnvelopeError as error:
        return str(error)
    return ""


def main() -> int:
    tried = wrong = 0
    for directory in sys.argv[1:]:
        for path in sorted(Path(directory).rglob("*.json")):
            expected = next((valid for start, valid in DECIDED.items() if path.name.startswith(start)), None)
            if expected is None:
                continue
            tried += 1
            found = refusal(path.read_bytes())
            if expected != (found == ""):
                wrong += 1
                print(f"{path}: {found or 'accepted'}")
    print(f"{tried} files, {wrong} not as expected")
    return int(wrong > 0 or not tried)


if __name__ == "__main__":
    sys.exit(main())
