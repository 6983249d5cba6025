"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """A private certificate authority, and what it signs, as PEM files in one directory."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self.certificate, self._key = self._files(name)
        self._openssl("req", "-x509", *_NEW, "-keyout", self._key, "-out", self.certificate, "-subj", f"/CN={name}")

    def issue(self, name: str, *, client: bool = False, san: str = "", subject: str = "") -> tuple[Path, Path]:
        """Certificate and key for a host name or IPv4 address, or for a client.

        `san` (as openssl writes it) and `subject` (`/O=…/CN=…`) stand for what follows from the name.
        """
        certificate, key = self._files(name)
        request = certificate.with_suffix(".csr")
        kind = "IP" if name.replace(".", "").isdigit() else "DNS"
        usage = "clientAuth" if client else "serverAuth"
        extensions = certificate.with_suffix(".ext")
        extensions.write_text(
            f"subjectAltName={san or f'{kind}:{name}'}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n"
        )
        self._openssl("req", *_NEW, "-keyout", key, "-out", request, "-subj", subject or f"/CN={name}")
        signer = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions)
        self._openssl("x509", "-req", "-in", request, *signer, "-out", certificate, "-days", "2")
        return certificate, key

    def encrypted(self, key: Path) -> Path:
        """A copy of a key that only a password opens."""
        copy = key.with_suffix(".locked")
        self._openssl("pkcs8", "-topk8", "-in", key, "-out", copy, "-passout", "pass:secret", "-v2", "aes-256-cbc")
        return copy

    def _files(self, name: str) -> tuple[Path, Path]:
        return self._directory / f"{name}.pem", self._directory / f"{name}.key"

    @staticmethod
    def _openssl(*args: str | Path) -> None:
        done = subprocess.run(["openssl", *args], capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr.decode()


_NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
