"""Reloads the configuration when its files change, or when told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from waypost.config import Config, Listen
from waypost.errors import ConfigError, counted
from waypost.gateway import Gateway
from waypost.table import read_config

__all__ = ["Reloader", "Say", "WatchedPaths"]

_WATCHED_SUFFIXES: Final = (".yaml", ".yml", ".json", ".jsonl")
LOOK = 1000
"""Milliseconds between two looks at the files when no change is reported. The system reports no change while a watch is
being set up, nor one on a network file system."""

Say = Callable[[str], None]
"""Takes one message for the person who runs the command."""

_logger = logging.getLogger("waypost")


class Reloader:
    """Keeps one process's gateway up to date with its files. `watch` and `reload` belong to one event loop."""

    def __init__(self, gateway: Gateway, path: Path, say: Say, listen: Listen) -> None:
        """`path` is the configuration's file. `listen` is the address that the process was started with."""
        self._gateway = gateway
        self._path = path
        self._say = say
        self._listen = listen
        self._reloading = asyncio.Lock()
        self._seen = _fingerprint(gateway.generation.config, path)

    def load(self) -> Config | None:
        """Put into force what the files say now. A bad file is reported and changes nothing; the result is `None`."""
        try:
            config = read_config(self._path)
            self._gateway.replace(config)
        except ConfigError as error:
            self._gateway.recorder.loaded(good=False)
            self._say(error.message)
            problems = counted(len(error.problems), "problem")
            self._say(f"waypost: not reloaded: {problems}; what ran before goes on running")
            return None
        self._gateway.recorder.loaded(good=True)
        return config

    def reopen_log(self) -> None:
        """Open the access log anew: its file may have been moved away."""
        gateway = self._gateway
        try:
            gateway.access_log.open(gateway.generation.config.access_log, anew=True)
        except OSError as exc:
            self._say(f"waypost: the access log stays where it was: it cannot be opened anew: {exc.strerror}")

    def warn(self) -> None:
        """Report what is legal in the configuration but probably not meant."""
        for warning in self._gateway.generation.warnings:
            self._say(str(warning))

    async def reload(self) -> None:
        """Load the file again. A bad one is reported and changes nothing, and so is a defect on the way."""
        async with self._reloading:
            before = self._gateway.generation.config
            state = _fingerprint(before, self._path)
            try:
                # In a thread: a table of 100,000 routes takes a while to read, and messages go on meanwhile.
                loaded = await asyncio.to_thread(self.load)
            except Exception:
                _logger.exception("a defect ended a reload: what ran before goes on running")
                loaded = None
            if loaded is None:
                self._seen = state
                return
            # As it was before they were read: what changed meanwhile is read again.
            self._seen = {path: state.get(path, now) for path, now in _fingerprint(loaded, self._path).items()}
            self._say(f"waypost: reloaded: {self._gateway.generation.summary}")
            self.warn()
            # The rest of `listen` follows a reload.
            if (loaded.listen.host, loaded.listen.port) != (self._listen.host, self._listen.port):
                self._say(
                    "waypost: warning: listen has changed since the start, which takes effect after a restart only"
                )

    async def watch(self) -> None:
        """Reload when a file of the configuration changes, or one appears beside them that it might include."""
        from watchfiles import awatch  # noqa: PLC0415 - not before the first message can be answered

        said = ""
        while True:
            places = WatchedPaths.of(self._gateway.generation.config, self._path)
            stop = asyncio.Event()
            changes = awatch(
                *places.directories,
                watch_filter=places.concerns,
                debounce=300,
                step=50,
                stop_event=stop,
                recursive=False,
                rust_timeout=LOOK,
                yield_on_timeout=True,
            )
            try:
                async for found in changes:
                    said = ""
                    await self._check(changed=bool(found))
                    if WatchedPaths.of(self._gateway.generation.config, self._path) != places:
                        stop.set()
            except (OSError, RuntimeError, ExceptionGroup) as exc:
                # A directory went just now, or the system has no more watches to give.
                if said != str(exc):
                    said = str(exc)
                    self._say(f"waypost: warning: files cannot be watched ({exc}); they are looked at now and then")
                await asyncio.sleep(LOOK / 1000)
                await self._check(changed=False)

    async def _check(self, *, changed: bool) -> None:
        if changed or _fingerprint(self._gateway.generation.config, self._path) != self._seen:
            await self.reload()


@dataclass(frozen=True)
class WatchedPaths:
    """Where the files of a configuration are, and where more can appear."""

    files: frozenset[Path]
    included: frozenset[Path]
    """Directories in which a new file counts."""
    steps: frozenset[Path]
    """These, and what is missing on the way to them: that they come or go counts, too."""
    directories: frozenset[Path]
    """What to watch: all of these exist."""

    @classmethod
    def of(cls, config: Config, path: Path) -> WatchedPaths:
        files = {path, *config.files}
        # Links are watched where they stand and where they lead; Kubernetes swaps one named ..data.
        files |= {path.resolve() for path in files}
        steps: set[Path] = set(config.directories)
        directories: set[Path] = set()
        for directory in {path.parent for path in files} | set(config.directories):
            existing = directory
            while not existing.is_dir() and existing != existing.parent:
                steps.add(existing)
                existing = existing.parent
            directories.add(existing)
        return cls(frozenset(files), frozenset(config.directories), frozenset(steps), frozenset(directories))

    def concerns(self, _: object, name: str) -> bool:
        """Whether a change of `name` may change the configuration."""
        path = Path(name)
        new = path.parent in self.included and path.suffix in _WATCHED_SUFFIXES
        return path in self.files or path in self.steps or new or path.name.startswith("..")


def _fingerprint(config: Config, path: Path) -> dict[Path, object]:
    """What tells that a file of the configuration was changed, or that one came or went beside those it includes."""
    state: dict[Path, object] = {}
    for file in {path, *config.files}:
        try:
            stat = file.stat()
        except OSError:
            state[file] = None
        else:
            state[file] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    for directory in config.directories:
        try:
            state[directory] = frozenset(file.name for file in directory.iterdir() if file.suffix in _WATCHED_SUFFIXES)
        except OSError:
            state[directory] = None
    return state
