"""Asks a certificate authority for certificates, with the distribution's certbot."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..host import untrusted

# For one certificate; certbot waits 90 seconds for the authority.
_TIMEOUT_S = 300
_MOST = 1 << 20
_LONGEST = 500
# What certbot says after its reason.
# And what its version 2.1 says instead of the reason, which is in its log.
_MASKED = "can't set attribute"
_AFTER = re.compile(r"^(Hint:|Ask for help|Some challenges have failed|See the logfile|\s*$)")


class RefusedError(Exception):
    """There is no certificate; the message has the authority's own words."""


@dataclass(frozen=True)
class Client:
    """How certbot is run. It keeps to its own directory, which certbot's timer does not know.

    Args:
        home: the directory.
        server: the URL of the authority's directory; empty for certbot's default.
        email: the address of the account; empty for none.
        authority: a file with the certificates of who vouches for the authority's API; empty for the system's.
        port: the port at which certbot answers the authority's challenge.
    """

    home: Path
    server: str
    email: str
    authority: str
    port: int

    @property
    def log(self) -> Path:
        """What certbot did in detail."""
        return self.home / "logs" / "letsencrypt.log"

    def chain(self, name: str) -> Path:
        """Return the file with the certificate, and its chain, that was issued last.

        Args:
            name: certbot's name for it.
        """
        return self.home / "config" / "live" / name / "fullchain.pem"

    def pem(self, name: str) -> str:
        """Return the certificate that was issued last, with its chain and its key, or nothing if there is none.

        Args:
            name: certbot's name for it.

        Raises:
            UntrustedError: it cannot be read.
        """
        chain = self.chain(name)
        if not chain.is_file():
            return ""
        # They are links to the numbered files that belong together.
        parts = (chain, chain.with_name("privkey.pem"))
        return "".join(untrusted.read(part.resolve(), _MOST).decode().strip() + "\n" for part in parts)

    def issue(self, name: str, names: Sequence[str]) -> None:
        """Have a certificate issued.

        Args:
            name: certbot's name for it.
            names: the host names.

        Raises:
            RefusedError: the authority refuses it, or cannot be reached.
        """
        try:
            done = subprocess.run(
                [*self._command(name), *(word for one in names for word in ("--domain", one))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=_TIMEOUT_S,
                env={**os.environ, "LC_ALL": "C.UTF-8"}
                | ({"REQUESTS_CA_BUNDLE": self.authority} if self.authority else {}),
            )
        except subprocess.TimeoutExpired as error:
            raise RefusedError(f"certbot has not ended within {_TIMEOUT_S} seconds") from error
        except OSError as error:
            raise RefusedError(f"certbot cannot be run: {error.strerror}") from error
        if done.returncode:
            # Each run begins a new log.
            log = self.log.read_text(errors="replace") if self.log.is_file() else ""
            raise RefusedError(words(done.stdout, log))

    def _command(self, name: str) -> Iterator[str]:
        yield from ("certbot", "certonly", "--non-interactive", "--agree-tos", "--no-eff-email")
        yield from ("--standalone", "--http-01-port", str(self.port), "--key-type", "ecdsa")
        # When it is time is decided here: certbot's rule does not suit certificates of six days.
        yield from ("--cert-name", name, "--force-renewal", "--max-log-backups", "10")
        for option in ("config", "work", "logs"):
            yield from (f"--{option}-dir", str(self.home / option))
        yield from ("--email", self.email) if self.email else ("--register-unsafely-without-email",)
        yield from ("--server", self.server) if self.server else ()


def words(output: str, log: str = "") -> str:
    """Return why there is no certificate, in the authority's own words as far as it has said any.

    Args:
        output: what certbot has printed.
        log: what it has logged.
    """
    lines = output.splitlines()
    details = re.findall(r"^ *Domain: (.+)\n *Type: +(.+)\n *Detail: (.+)$", output, re.M)
    if details:
        said = "; ".join(f"{domain}: {detail} ({kind})" for domain, kind, detail in details)
    else:
        begin = next((place for place, line in enumerate(lines) if "unexpected error occurred" in line), -1)
        rest = [line.strip() for line in lines[begin + 1 :]]
        end = next((place for place, line in enumerate(rest) if _AFTER.match(line)), len(rest))
        said = " ".join(rest[:end] if begin >= 0 else [line for line in rest if line and not _AFTER.match(line)][-1:])
    if _MASKED in said:
        said = (re.findall(r"^acme\.messages\.Error: (.+)$", log, re.M) or [said])[-1]
    # The authority's words, without the name that certbot's language has for them.
    said = re.sub(r"^[\w.]+(?:Error|Exception): ", "", said)
    return said[:_LONGEST] or "certbot has failed without a reason"


def remedy(said: str) -> str:
    """Return what to do about a reason.

    Args:
        said: the reason.
    """
    low = said.lower()
    if "too many" in low or "ratelimit" in low or "rate limit" in low:
        return "wait until the time that the authority names; each further attempt counts"
    if re.search(r"\((connection|dns|unauthorized|caa|incorrectresponse)\)", low):
        return "let the name's addresses be those of the balancers, whose port 80 anybody reaches"
    if low.startswith("visitors of"):
        return "run playbooks/load_balancer.yml, and see `journalctl -u haproxy` on the balancer"
    if "no space left" in low:
        return "make room on the balancer's disk"
    if "connection" in low or "timed out" in low or "unreachable" in low or "max retries" in low:
        return "let the balancer reach the authority (load_balancer_acme_server)"
    return "see certbot's log on the balancer, acme/logs/letsencrypt.log below /var/lib/haproxy-flaskops"
