"""Reloads the configuration when its files change, and on demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from waypost.binding import Overrides, restart_needed
from waypost.config import Config, Listen
from waypost.errors import ConfigError, counted
from waypost.gateway import Gateway
from waypost.table import read_config

__all__ = ["Reloader", "Say", "WatchedPaths"]

_WATCHED_SUFFIXES: Final = (".yaml", ".yml", ".json", ".jsonl")
POLL_INTERVAL = 1000
"""Time between two checks of the files while no change is reported, in milliseconds. The system reports no change while
a watch is being set up, and none on a network file system."""

Say = Callable[[str], None]
"""Prints one message for the user of the command."""

_logger = logging.getLogger("waypost")


class Reloader:
    """Keeps the gateway of one process up to date with its files. `watch` and `reload` belong to one event loop."""

    def __init__(
        self, gateway: Gateway, path: Path, say: Say, listen: Listen, overrides: Overrides | None = None
    ) -> None:
        """`path` is the file of the configuration, of which `overrides` replaces some keys.

        `listen` is what the file said when the process started.
        """
        self._gateway = gateway
        self._path = path
        self._say = say
        self._overrides = overrides or Overrides()
        self._listen = self._latest_listen = listen
        self.on_load: Callable[[Config], None] = lambda _: None
        """Called with each configuration that comes into force, in any thread."""
        self._reloading = asyncio.Lock()
        self._loaded_state = _fingerprint(gateway.generation.config, path)

    def load(self) -> Config | None:
        """Serve the current content of the files. Problems are reported, change nothing and return `None`."""
        try:
            read = read_config(self._path)
            config = self._overrides.apply(read)
            self._gateway.replace(config)
            self._latest_listen = read.listen
        except ConfigError as error:
            self._gateway.recorder.loaded(good=False)
            self._say(error.message)
            problems = counted(len(error.problems), "problem")
            self._say(f"waypost: not reloaded: {problems}; the old configuration stays in force")
            return None
        self._gateway.recorder.loaded(good=True)
        self.on_load(config)
        return config

    def reopen_log(self) -> None:
        """Open the access log again, because its file may have been moved."""
        gateway = self._gateway
        try:
            gateway.access_log.open(gateway.generation.config.access_log, anew=True)
        except OSError as exc:
            self._say(f"waypost: the access log cannot be reopened and stays where it was: {exc.strerror}")

    def warn(self) -> None:
        """Report the warnings of the configuration."""
        for warning in self._gateway.generation.warnings:
            self._say(str(warning))

    async def reload(self) -> None:
        """Load the configuration again. Problems and defects are reported and change nothing."""
        async with self._reloading:
            before = self._gateway.generation.config
            state = _fingerprint(before, self._path)
            try:
                # In a thread, because 100,000 routes take a while to read, and messages must not wait for that.
                loaded = await asyncio.to_thread(self.load)
            except Exception:
                _logger.exception("a defect ended a reload: the old configuration stays in force")
                loaded = None
            if loaded is None:
                self._loaded_state = state
                return
            # The fingerprint from before the read, so that a file that changed meanwhile is read again.
            self._loaded_state = {path: state.get(path, now) for path, now in _fingerprint(loaded, self._path).items()}
            self._say(f"waypost: reloaded: {self._gateway.generation.summary}")
            # The place of a warning may have to be read from a large file.
            await asyncio.to_thread(self.warn)
            if before.keys and not loaded.keys:
                self._say("waypost: warning: `keys` are gone: everyone who can connect may now send messages")
            if restart_needed(self._listen, self._latest_listen):
                self._say(
                    "waypost: warning: the address in `listen` has changed, which takes effect only after a restart"
                )

    async def watch(self) -> None:
        """Reload when a file of the configuration changes, or when one appears that it may include."""
        from watchfiles import awatch  # noqa: PLC0415 - imported only after the server is ready

        last_warning = ""
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
                rust_timeout=POLL_INTERVAL,
                yield_on_timeout=True,
            )
            try:
                async for found in changes:
                    last_warning = ""
                    await self._check(changed=bool(found))
                    if WatchedPaths.of(self._gateway.generation.config, self._path) != places:
                        stop.set()
            except (OSError, RuntimeError, ExceptionGroup) as exc:
                # A directory has just been removed, or the system has no free watches.
                if last_warning != str(exc):
                    last_warning = str(exc)
                    self._say(f"waypost: warning: files cannot be watched ({exc}); they are checked every second")
                await asyncio.sleep(POLL_INTERVAL / 1000)
                await self._check(changed=False)

    async def _check(self, *, changed: bool) -> None:
        if changed or _fingerprint(self._gateway.generation.config, self._path) != self._loaded_state:
            await self.reload()


@dataclass(frozen=True)
class WatchedPaths:
    """The paths at which the files of a configuration are, and at which further files can appear."""

    files: frozenset[Path]
    included: frozenset[Path]
    """Directories in which a new file may be included."""
    appearing: frozenset[Path]
    """`included`, and the missing directories above them; that one appears or disappears matters."""
    directories: frozenset[Path]
    """Directories to watch. All of them exist."""

    @classmethod
    def of(cls, config: Config, path: Path) -> WatchedPaths:
        files = {path, *config.files}
        # Both the link and its target are watched. Kubernetes swaps a link named `..data`.
        files |= {path.resolve() for path in files}
        appearing: set[Path] = set(config.directories)
        directories: set[Path] = set()
        for directory in {path.parent for path in files} | set(config.directories):
            existing = directory
            while not existing.is_dir() and existing != existing.parent:
                appearing.add(existing)
                existing = existing.parent
            directories.add(existing)
        return cls(frozenset(files), frozenset(config.directories), frozenset(appearing), frozenset(directories))

    def concerns(self, _: object, name: str) -> bool:
        """Whether a change of the file `name` may change the configuration."""
        path = Path(name)
        new = path.parent in self.included and path.suffix in _WATCHED_SUFFIXES
        return path in self.files or path in self.appearing or new or path.name.startswith("..")


def _fingerprint(config: Config, path: Path) -> dict[Path, object]:
    """A value that changes when a file of the configuration changes, or when one appears or disappears."""
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
