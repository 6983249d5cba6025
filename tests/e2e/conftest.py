"""One corpus of tests for every way in: `path` says through which of them the messages of a test go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .support.site import PATHS, Launcher


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "passes: a test of bad input in which some message may reach an endpoint")


@pytest.fixture(scope="session", params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    """The way in."""
    name: str = request.param
    return name


@pytest.fixture
def launch(path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Starts proxies and upstreams for one test."""
    launcher = Launcher(path, tmp_path_factory.mktemp("site"))
    try:
        yield launcher
    finally:
        launcher.close()


@pytest.fixture(scope="module")
def shared(path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Starts proxies and upstreams for all tests of a module."""
    launcher = Launcher(path, tmp_path_factory.mktemp("shared"))
    try:
        yield launcher
    finally:
        launcher.close()


@pytest.fixture(autouse=True)
def _clear(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "shared" in request.fixturenames:
        request.getfixturevalue("shared").clear()
