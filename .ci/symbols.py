"""Check the tags of wheels against the symbols of their extension: `symbols.py WHEEL…`."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile  # type: ignore[import-untyped]
from elftools.elf.gnuversions import GNUVerNeedSection  # type: ignore[import-untyped]

MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
GLIBC = re.compile(r"(?:libc|libm|libdl|libpthread|librt|ld-linux-(?:x86-64|aarch64))\.so\.\d+")
MUSL = re.compile(r"libc\.so")


def check(wheel: Path) -> None:
    """Fail unless the tag of `wheel` is right."""
    found = re.search(r"-cp311-abi3-(?:\w+\.)?(manylinux_2_17|musllinux_1_2)_(x86_64|aarch64)\.whl$", wheel.name)
    assert found is not None, f"{wheel.name}: an unexpected tag"
    libc, machine = found[1], found[2]
    with zipfile.ZipFile(wheel) as archive:
        elf = ELFFile(io.BytesIO(archive.read("waypost/_native.abi3.so")))
    assert MACHINES[elf["e_machine"]] == machine, wheel.name
    needed = [tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags() if tag.entry.d_tag == "DT_NEEDED"]
    allowed = GLIBC if libc == "manylinux_2_17" else MUSL
    assert all(allowed.fullmatch(name) for name in needed), f"{wheel.name} needs {needed}"
    versions = {
        version.name
        for section in elf.iter_sections()
        if isinstance(section, GNUVerNeedSection)
        for _, each in section.iter_versions()
        for version in each
        if version.name.startswith("GLIBC_")
    }
    newest = max((tuple(map(int, name.removeprefix("GLIBC_").split("."))) for name in versions), default=(0,))
    assert newest <= ((2, 17) if libc == "manylinux_2_17" else (0,)), f"{wheel.name} needs {sorted(versions)}"
    print(f"{wheel.name}: needs {', '.join(needed)}; newest symbol of glibc: {'.'.join(map(str, newest))}")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        check(Path(name))
