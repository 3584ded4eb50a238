"""Certificates for the tests of TLS."""

from pathlib import Path

import trustme


class Files:
    """A certificate authority and what it signed, as files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        authority = trustme.CA()
        self.ca = folder / f"{name}-ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.server = self._signed(authority.issue_cert("127.0.0.1", "search.internal"), folder / name)
        self.client = self._signed(authority.issue_cert("front.internal"), folder / f"{name}-client")

    def _signed(self, leaf: trustme.LeafCert, path: Path) -> tuple[Path, Path]:
        certificate, key = path.with_suffix(".pem"), path.with_suffix(".key")
        leaf.private_key_pem.write_to_path(key)
        for blob in leaf.cert_chain_pems:
            blob.write_to_path(certificate, append=True)
        return certificate, key
