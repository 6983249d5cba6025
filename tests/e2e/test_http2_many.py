"""More calls on one HTTP/2 connection than its parser takes by itself, by a real client."""

from __future__ import annotations

import collections
import shutil
import subprocess
from pathlib import Path

import pytest

from .support.certificates import Authority
from .support.site import Launcher, Site

CALLS = 10_000


@pytest.mark.parametrize("how", [[], ["--parallel", "--parallel-max", "100"]], ids=["one by one", "at once"])
def test_no_call_is_lost(launch: Launcher, tmp_path: Path, how: list[str]) -> None:
    if launch.path != "fast":
        pytest.skip("HTTP/2 has one way in")
    curl = shutil.which("curl")
    if curl is None or "HTTP2" not in subprocess.run([curl, "-V"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("no curl with HTTP/2 is installed")
    authority = Authority(tmp_path)
    certificate, key = map(str, authority.issue("localhost"))
    site = Site(launch, {"model": {}}, args=("--ssl-certfile", certificate, "--ssl-keyfile", key))
    assert isinstance(site.proxy.address, tuple)
    url = f"https://localhost:{site.proxy.address[1]}/healthz?[1-{CALLS}]"
    told = "%{http_version} %{http_code} %{exitcode} %{num_connects}\\n"
    argv = [curl, "-s", "--http2", "--cacert", authority.certificate, *how, url, "-o", "/dev/null", "-w", told]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=600)
    counts = collections.Counter(done.stdout.splitlines())
    assert counts == {"2 200 0 0": CALLS - 1, "2 200 0 1": 1}
