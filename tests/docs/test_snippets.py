"""Every block of the README and of the pages in docs/ is run, and what it shows is compared with what comes out.

`support/session.py` says how a block is run. Sections of one page share a directory, a namespace and servers. A section
that is run alone runs those before it first.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import waypost
import yaml

from .support.compare import same
from .support.kubernetes import check_manifest
from .support.pages import PAGES, ROOT, Block, Page, commands
from .support.session import NOT_RUN, STANDS_FOR, Session, environment, without_proxies_and_keys

TOOLS = ("curl", "nginx", "openssl")
"""Programs that sections need beside Python and a shell; where one is missing its sections are not run."""


class Visit:
    """A reader's way through one page."""

    def __init__(self, page: Page, session: Session) -> None:
        self.page = page
        self.session = session
        self._next = 0

    def read(self, index: int) -> None:
        """Run the section `index`, and those before it that have not been run."""
        while self._next <= index:
            section = self.page.sections[self._next]
            self._next += 1
            for block in section.blocks:
                self._run(block)

    def _run(self, block: Block) -> None:
        self.session.run(block)
        if block.file is not None:
            path = self.session.cwd / block.file
            check = CHECKS.get(block.file) or CHECKS.get(path.suffix)
            if check is not None:
                check(path)
            elif block.language == "yaml" and not self._checked_by_the_page(block.file):
                checked = f"waypost check --offline {block.file} > check.txt && echo ok || cat check.txt"
                self.session.command(block.where, checked, "ok\n")

    def _checked_by_the_page(self, file: str) -> bool:
        """The page shows what `waypost check` says of a file, or the file is a part of another."""
        console = "".join(b.text for s in self.page.sections for b in s.blocks if b.language == "console")
        return "/" in file or f"waypost check {file}\n" in console


# Files of other programs.


def check_unit(path: Path) -> None:
    """A unit of systemd: its syntax, and by systemd itself where that is installed."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(path)
    assert {"Unit", "Service"} <= set(unit), path.name
    program = unit["Service"]["ExecStart"].split()[0]
    assert Path(program).is_absolute(), program
    if shutil.which("systemd-analyze") is not None:
        # What it starts is not installed here.
        path.write_text(path.read_text(encoding="utf-8").replace(program, "/bin/true"), encoding="utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, path.name in done.stderr) == (0, False), done.stderr


def check_nginx(path: Path) -> None:
    """Braces and semicolons; the page runs it where nginx is installed."""
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    assert text.count("{") == text.count("}") > 0
    assert all(re.search(r"[;{}]$", line.rstrip()) for line in text.splitlines() if line.strip())


def check_logrotate(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")[1:]
    assert re.fullmatch(r"/\S+ \{", lines[0])
    scripts = [line.strip() for line in lines if line.strip() in ("prerotate", "postrotate", "endscript")]
    assert scripts == ["postrotate", "endscript"]
    assert lines[-2:] == ["}", ""]


def check_dockerfile(path: Path) -> None:
    words = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"[A-Z]+ ", line)]
    assert words[0] == "FROM"
    assert words[-1] in ("CMD", "ENTRYPOINT")


def check_kubernetes(path: Path) -> None:
    check_manifest(list(yaml.safe_load_all(path.read_text(encoding="utf-8"))), path.parent)


CHECKS: Mapping[str, Callable[[Path], None]] = {
    ".service": check_unit,
    ".conf": check_nginx,
    "logrotate.conf": check_logrotate,
    "Dockerfile": check_dockerfile,
    "kubernetes.yaml": check_kubernetes,
}
"""What is held of files that are not Waypost's, by name or ending."""


# Fixtures.


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept = dict(without_proxies_and_keys(dict(os.environ)))
    return environment(kept, tmp_path_factory.mktemp("bin"), Path(waypost.__file__).parents[1], sys.executable)


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Iterator[Callable[[Page], Visit]]:
    """Gives the visit of a page. It ends when another page is visited."""
    current: list[Visit] = []

    def of(page: Page) -> Visit:
        if not current or current[0].page is not page:
            if current:
                current.pop().session.close()
            current.append(Visit(page, Session(tmp_path_factory.mktemp("page"), environ)))
        return current[0]

    try:
        yield of
    finally:
        for each in current:
            each.session.close()


@pytest.fixture
def session(tmp_path: Path, environ: dict[str, str]) -> Iterator[Session]:
    session = Session(tmp_path, environ)
    try:
        yield session
    finally:
        session.close()


SECTIONS = [
    pytest.param(page, index, id=f"{page.name}:{section.title}")
    for page in PAGES
    for index, section in enumerate(page.sections)
    if section.blocks
]


@pytest.mark.parametrize(("page", "index"), SECTIONS)
def test_what_a_section_shows_is_what_happens(visit: Callable[[Page], Visit], page: Page, index: int) -> None:
    text = "".join(block.text for section in page.sections[: index + 1] for block in section.blocks)
    for tool in TOOLS:
        if re.search(rf"\b{tool} ", text) and shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    visit(page).read(index)


# The runner itself.


def test_commands_that_are_not_run_are_there() -> None:
    blocks = [block for page in PAGES for section in page.sections for block in section.blocks]
    used = {command for block in blocks if block.language == "console" for command, _ in commands(block.text)}
    assert set(NOT_RUN) | set(STANDS_FOR) <= used


def test_make_demo_is_what_stands_for_it() -> None:
    assert re.search(
        r"^demo: build.*\n\t\$\(BIN\)/waypost demo \$\(ARGS\)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "1 + 1  # -> 3\n"),
        ("python", "1 + 1\n"),
        ("python", "print('a')  # -> b\n"),
        ("python", "for n in (1, 2):\n    print(n)\n# -> 1\n"),
        ("python", "x = 1  # -> 1\n"),
        ("console", "$ echo a\nb\n"),
        ("console", "$ echo a\n"),
        ("console", "$ echo a; echo b\na\n"),
        ("console", "$ make test\nall is well\n"),
        ("console", "$ export A=b\nb\n"),
        ("console", "$ waypost serve nowhere.yaml\nwaypost: listening on …\n"),
        ("yaml", "routes: []\n"),
        ("text", "a\n"),
    ],
)
def test_a_wrong_claim_is_noticed(language: str, text: str, session: Session) -> None:
    with pytest.raises(AssertionError):
        session.run(Block(language, text, "page:1"))


def test_what_is_exported_holds_for_later_commands(session: Session) -> None:
    session.run(Block("console", "$ export A=$(echo b)\n$ echo $A\nb\n", "page:1"))


def test_a_file_of_another_program_with_a_fault_is_noticed(tmp_path: Path) -> None:
    for name, text in {
        "a.service": "[Unit]\n[Service]\nExecStart=waypost serve\n",
        "a.conf": "http { server { } \n",
        "Dockerfile": "FROM python\n",
        "kubernetes.yaml": "kind: Deployment\n",
    }.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        with pytest.raises((AssertionError, KeyError)):
            (CHECKS.get(name) or CHECKS[path.suffix])(path)


@pytest.mark.parametrize(
    ("shown", "came", "equal"),
    [
        ("a…c\n", "abc\n", True),
        ("a…c\n", "ab\nc\n", False),
        ("a\n…\nc\n", "a\nc\n", True),
        ("a\n…\nc\n", "a\nb\nb\nc\n", True),
        ("a\n…\nc\n", "a\nb\n", False),
        ("q    2.1 ms  why\n", "q  1002.7 ms  why\n", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_the_ellipsis(shown: str, came: str, equal: bool) -> None:
    assert same(shown, came) is equal
