"""Renews the certificates that an authority issues, puts them into HAProxy, and proves that visitors get them."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host import files, untrusted
from . import acme, certificates
from .certificates import CertificateError
from .runtime import Runtime, RuntimeAPIError

# In which visitors must get a new certificate.
_PROOF_S = 5
_POLL_S = 0.2


class RenewalError(Exception):
    """A certificate is not renewed; the message says why, for the operator."""


@dataclass(frozen=True)
class Site:
    """Host names that share a certificate.

    Args:
        names: the host names.
        file: the file from which HAProxy reads it.
    """

    names: list[str]
    file: Path

    @property
    def id(self) -> str:
        """The name that certbot and the records use."""
        return self.file.stem


@dataclass(frozen=True)
class Records:
    """What the last renewals came to, by the name of the certificate.

    A record has ``server``, the authority that issued it; after a failure also ``names``, ``since``, ``said`` and
    ``until``, the end of the certificate that is served meanwhile; that is empty if it is the temporary one.

    Args:
        file: where they are kept.
    """

    file: Path

    def read(self) -> dict[str, dict[str, str]]:
        """Return the records.

        Raises:
            DamagedError: the file is not what was written.
        """
        return files.read_object(self.file) if self.file.is_file() else {}

    def write(self, records: Mapping[str, Mapping[str, str]]) -> None:
        """Write the records.

        Args:
            records: all of them.

        Raises:
            OSError: the file cannot be written.
        """
        files.put(self.file, json.dumps(records, indent=1) + "\n", 0o600)


@dataclass(frozen=True)
class Renewal:
    """The renewals of one balancer.

    Args:
        runtime: HAProxy.
        sites: what has a certificate from the authority.
        client: how the authority is asked.
        port: HAProxy's port for HTTPS.
        records: what the last renewals came to.
    """

    runtime: Runtime
    sites: Sequence[Site]
    client: acme.Client
    port: int
    records: Records

    @classmethod
    def configured(cls, runtime: Runtime, settings: Path, data: Path) -> Renewal:
        """Return the renewals that the role has configured.

        Args:
            runtime: HAProxy.
            settings: the role's settings; without the file, there are no sites.
            data: the balancer's own directory.

        Raises:
            DamagedError: the settings, or the records, are not what was written.
        """
        found: dict[str, Any] = files.read_object(settings) if settings.is_file() else {}
        client = found.get("client", {})
        return cls(
            runtime=runtime,
            sites=[Site(one["names"], Path(one["file"])) for one in found.get("sites", [])],
            client=acme.Client(
                home=data / "acme",
                server=client.get("server", ""),
                email=client.get("email", ""),
                authority=client.get("authority", ""),
                port=client.get("port", 0),
            ),
            port=found.get("https_port", 0),
            records=Records(data / "renewals.json"),
        )

    def due(self) -> list[Site]:
        """Return the sites whose certificate has to be issued, or is not what visitors get.

        Raises:
            CertificateError: what visitors get cannot be seen.
            DamagedError: the records are not what was written.
        """
        records = self.records.read()
        return [site for site in self.sites if self._outdated(site, records) or not self._in_use(site)]

    def run(self) -> list[str]:
        """Renew what is due, and return a message for each certificate that could not be.

        Raises:
            RenewalError: another renewal runs.
            DamagedError: the records are not what was written.
            OSError: nothing can be written.
        """
        with self._alone():
            before = self.records.read()
            after = {}
            for site in self.sites:
                try:
                    self._renew(site, before)
                    after[site.id] = {"server": self.client.server}
                except (acme.RefusedError, CertificateError, RuntimeAPIError, untrusted.UntrustedError) as error:
                    after[site.id] = self._failure(site, before.get(site.id, {}), str(error))
                except OSError as error:
                    said = f"{error.filename or site.file}: {error.strerror}"
                    after[site.id] = self._failure(site, before.get(site.id, {}), said)
            # First to the journal: the disk may be full.
            failures = problems(after)
            try:
                self.records.write(after)
            except OSError as error:
                failures.append(f"{self.records.file} cannot be written: {error.strerror}")
            return failures

    def _renew(self, site: Site, records: Mapping[str, Mapping[str, str]]) -> None:
        if self._outdated(site, records):
            self.client.issue(site.id, site.names)
        # What was issued before a crash, or before a disk was full, is used now. The authority need not be asked again.
        if not self._in_use(site):
            certificates.put(self.runtime, site.file, self.client.pem(site.id))
        self._prove(site)

    def _outdated(self, site: Site, records: Mapping[str, Mapping[str, str]]) -> bool:
        """Return whether the certificate that was issued last does not do, or whether there is none."""
        pem = self.client.pem(site.id)
        if not pem or records.get(site.id, {}).get("server", self.client.server) != self.client.server:
            return True
        # An operator who wants new certificates at once, as after the loss of a key, touches this file.
        asked = self.client.home / "renew-now"
        wanted = asked.is_file() and asked.stat().st_mtime > self.client.chain(site.id).stat().st_mtime
        return wanted or certificates.read(pem).due(time.time())

    def _in_use(self, site: Site) -> bool:
        """Return whether the certificate that was issued last is on the disk, and is what visitors get."""
        issued = certificates.read(self.client.pem(site.id)).serial
        found = {certificates.kept(site.file).serial} if site.file.is_file() else {""}
        return found | {certificates.served(self.port, name).serial for name in site.names} == {issued}

    def _prove(self, site: Site) -> None:
        issued = certificates.read(self.client.pem(site.id)).serial
        until = time.monotonic() + _PROOF_S
        for name in site.names:
            while (found := certificates.served(self.port, name).serial) != issued:
                if time.monotonic() > until:
                    raise CertificateError(
                        f"visitors of {name} get the certificate {found}, and not the new one, {issued}"
                    )
                time.sleep(_POLL_S)

    def _failure(self, site: Site, before: Mapping[str, str], said: str) -> dict[str, str]:
        try:
            present = certificates.kept(site.file)
            until = "" if present.self_signed else moment(present.ends)
        except CertificateError:
            until = ""
        return {
            # Of the authority that issued the present one.
            "server": before.get("server", self.client.server),
            "names": ", ".join(site.names),
            "since": before.get("since", moment(time.time())),
            "said": said,
            "until": until,
        }

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.client.home.mkdir(mode=0o700, exist_ok=True)
        with (self.client.home / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RenewalError("another renewal runs: wait until it has ended") from error
            yield


def problems(records: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a message for each record of a failure.

    Args:
        records: what the last renewals came to.
    """
    return [
        f"the certificate for {one['names']} cannot be renewed (since {one['since']}): {one['said']}. "
        f"{f'The present one is valid until {until}' if (until := one['until']) else 'A temporary one is served'}. "
        f"Remedy: {acme.remedy(one['said'])}"
        for one in records.values()
        if one.get("said")
    ]


def moment(seconds: float) -> str:
    """Return a time as text, in UTC.

    Args:
        seconds: since 1970.
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
