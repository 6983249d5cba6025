"""Which tests run one after the other in one process, and which beside each other: see `_scope`."""

from __future__ import annotations

import re

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


def _scope(test: str) -> str:
    """Tests of one module share its servers, so they stay together.

    A module of `e2e` has servers for each way in, and the documentation has some for each page: these are apart.
    """
    module, _, rest = test.partition("::")
    if module.startswith("tests/e2e/"):
        way = re.search(r"[\[-](fast|asgi)\b", rest)
        return f"{module}[{way[1]}]" if way else module
    if module == "tests/docs/test_snippets.py" and (page := re.search(r"\[([^:\]]+):", rest)):
        return f"{module}[{page[1]}]"
    return module


class _Scheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _Scheduling(config, log)
