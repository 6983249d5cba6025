"""One corpus of tests for every way in: `path` says through which of them the messages of a test go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .support.site import PATHS, Launcher, Site


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
    yield from _launcher(path, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def shared(path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Starts proxies and upstreams for all tests of a module."""
    yield from _launcher(path, tmp_path_factory.mktemp("shared"))


def _launcher(path: str, directory: Path) -> Iterator[Launcher]:
    launcher = Launcher(path, directory)
    try:
        yield launcher
    finally:
        launcher.close()


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    """An upstream for each dialect. A module that needs other ones has a fixture of its own."""
    return Site(shared, {"native": {"speaks": "envelope"}, "model": {}}, {"limits": {"depth": 100}})


@pytest.fixture
def nothing_passes(request: pytest.FixtureRequest, site: Site) -> Iterator[None]:
    """No message of the test may reach an endpoint, unless it is marked `passes`."""
    yield
    if "passes" not in request.keywords:
        assert site["native"].untouched()
        assert site["model"].untouched()


@pytest.fixture(autouse=True)
def _clear(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "shared" in request.fixturenames:
        request.getfixturevalue("shared").clear()
