"""Debian packages unpacked into a private folder: no root, nothing installed, no host named.

Theory: apt's own configuration on a Debian machine already names an archive and the key that signs
it.  A copy of those sources with the release's name exchanged for `trixie` (the first with
MicroPython 1.25), used with private lists, cache and status, lets apt resolve and download a
package with all it needs, libc included; `dpkg -x` unpacks them; and the package's own `ld-linux`
starts the program, so that the host's libc does not matter.

On Ubuntu the names cannot be exchanged.  There the host's own packages serve when they are new
enough, and OUTPOST_DEBIAN_MIRROR can name a Debian archive instead.

Only the standard library is used: this runs before there is a virtual environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from outpost.errors import ExitCode, OutpostError

RELEASE = "trixie"
OLDER_RELEASES = ("bullseye", "bookworm")
MIRROR_VARIABLE = "OUTPOST_DEBIAN_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_TIMEOUT_S = 600

# Hooks of the host's apt (docker-clean and friends) must not run for a private download.
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
APT::Architecture "{arch}";
#clear APT::Architectures;
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "{user}";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Default-Release "";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dir::Etc::SourceList "{home}/debian.sources";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::State "{home}/state";
Dir::State::Lists "{home}/lists";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
Dir::Log "{home}/log";
"""


def available() -> bool:
    """Whether this machine has apt and dpkg at all."""
    return all(shutil.which(tool) for tool in ("apt-get", "dpkg", "dpkg-deb"))


def host_architecture() -> str:
    """dpkg's name of this machine's architecture."""
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True)
    return done.stdout.strip()


def host_release() -> tuple[str, str]:
    """(id, codename) from os-release, such as ("debian", "bookworm")."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return "", ""
    pairs = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.M))
    return pairs.get("ID", ""), pairs.get("VERSION_CODENAME", "")


def stanzas(text: str) -> list[dict[str, str]]:
    """The enabled stanzas of a deb822 sources file; continuation lines are joined."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        lines = "\n".join(line for line in block.splitlines() if not line.startswith("#"))
        joined = re.sub(r"\n[ \t]+", " ", lines)
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*?)[ \t]*$", joined, re.M))
        if fields.get("URIs") and fields.get("Enabled", "yes").lower() != "no":
            found.append(fields)
    return found


def one_liners(text: str) -> list[dict[str, str]]:
    """The `deb [options] uri suite components` lines of an old-style file, as stanzas."""
    found = []
    pattern = r"^deb[ \t]+(?:\[([^\]]*)\][ \t]+)?(\S+)[ \t]+(\S+)[ \t]+([^#\n]+)"
    for options, uri, suite, components in re.findall(pattern, text, re.M):
        fields = {"URIs": uri, "Suites": suite, "Components": components.strip()}
        key = re.search(r"signed-by=(\S+)", options)
        if key:
            fields["Signed-By"] = key.group(1)
        found.append(fields)
    return found


def host_stanzas(etc_apt: Path) -> list[dict[str, str]]:
    """All that the host's apt is configured with."""
    found = []
    files = [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix == ".sources" and file.is_file():
            found += stanzas(file.read_text())
        elif file.suffix == ".list" and file.is_file():
            found += one_liners(file.read_text())
    return found


def private_sources(etc_apt: Path, distribution: str, codename: str, own: bool = False) -> str:
    """The sources to use: the archive's own entries for `codename`, moved to `RELEASE` on an older
    Debian unless the machine's `own` release is wanted.
    """
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror and not own:
        _need_keyring()
        return _stanza({"URIs": mirror, "Signed-By": str(KEYRING)}, RELEASE)
    wanted = RELEASE if codename in OLDER_RELEASES and not own else codename
    kept = [s for s in host_stanzas(etc_apt) if _is_archive(s, distribution, codename)]
    return "\n".join(dict.fromkeys(_stanza(s, wanted) for s in kept))


def _need_keyring() -> None:
    if not KEYRING.is_file():
        fix = "sudo apt-get install debian-archive-keyring, then run it again"
        raise OutpostError("no-keyring", f"{KEYRING} is missing", fix, ExitCode.USAGE)


def _is_archive(fields: dict[str, str], distribution: str, codename: str) -> bool:
    """The base suite of the distribution itself: third parties use its suite names as well."""
    signed_by = fields.get("Signed-By", "")
    own_key = f"{distribution}-archive" in signed_by or not signed_by.startswith("/")
    components = fields.get("Components", "").split()
    return codename in fields.get("Suites", "").split() and "main" in components and own_key


def _stanza(fields: dict[str, str], suite: str) -> str:
    components = [c for c in fields.get("Components", "main").split() if c in ("main", "universe")]
    lines = [
        "Types: deb",
        f"URIs: {fields['URIs']}",
        f"Suites: {suite}",
        f"Components: {' '.join(components)}",
    ]
    if fields.get("Signed-By"):
        lines.append(f"Signed-By: {fields['Signed-By']}")
    return "\n".join(lines) + "\n"


class Archive:
    """apt with private lists, cache and status, for one architecture.

    `home` is its to fill and to delete.  `own_release` takes packages of the machine's own
    release, for programs that use the machine's libraries beside their own.
    """

    def __init__(self, home: Path, architecture: str, own_release: bool = False) -> None:
        self._home = home
        self._architecture = architecture
        self._own_release = own_release
        self._updated = False

    def _configure(self) -> None:
        for folder in ("state", "lists/partial", "cache/archives/partial", "log"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        (self._home / "status").touch()
        distribution, codename = host_release()
        etc_apt = Path("/etc/apt")
        sources = private_sources(etc_apt, distribution, codename, self._own_release)
        if not sources:
            raise OutpostError(
                "no-archive",
                f"apt's configuration names no archive of {distribution or 'this system'}",
                f"set {MIRROR_VARIABLE} to the address of a Debian mirror",
                ExitCode.USAGE,
            )
        (self._home / "debian.sources").write_text(sources)
        user = "root" if os.geteuid() == 0 else ""
        text = _CONFIGURATION.format(home=self._home, arch=self._architecture, user=user)
        (self._home / "apt.conf").write_text(text)

    def _apt(self, *arguments: str) -> None:
        command = ["apt-get", "-qq", "-c", str(self._home / "apt.conf"), *arguments]
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=APT_TIMEOUT_S,
            env=environment,
        )
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        failed_fetch = arguments[0] == "update" and any("ailed to fetch" in e for e in errors)
        if done.returncode != 0 or failed_fetch:
            raise _apt_error(arguments[0], errors)

    def unpack(self, package: str, into: Path) -> str:
        """Download `package` with all it depends on, unpack it as `into`, and return its
        version."""
        if not self._updated:
            self._configure()
            self._apt("update")
            self._updated = True
        archives = self._home / "cache" / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        self._apt("install", "--download-only", package)
        staging = into.with_name(into.name + ".part")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for deb in sorted(archives.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(deb), str(staging)])
        shutil.rmtree(into, ignore_errors=True)
        staging.rename(into)
        [main] = archives.glob(f"{package}_*.deb")
        return _run(["dpkg-deb", "-f", str(main), "Version"]).strip()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OutpostError("unpack", f"{command[0]}: {done.stderr.strip()}", "is the disk full?")
    return done.stdout


def _apt_error(step: str, errors: list[str]) -> OutpostError:
    text = "\n    ".join(errors[:4]) or "no message"
    if re.search(r"resolv|onnect|timed? ?out|ailed to fetch|unreachable", text, re.I):
        fix = "check the network (and apt's proxy settings), then run it again"
    elif "space" in text:
        fix = "free some disk space, then run it again"
    elif re.search(r"NO_PUBKEY|not signed", text):
        fix = "update the package debian-archive-keyring, then run it again"
    else:
        fix = "put a new enough one on PATH, then run it again"
    return OutpostError("apt", f"apt-get {step} failed:\n    {text}", fix)


def loader_of(prefix: Path) -> tuple[Path, Path]:
    """(dynamic loader, library folder) of an unpacked prefix, relative to it."""
    found = sorted(prefix.glob("usr/lib/*/ld-linux*.so.*")) or sorted(
        prefix.glob("lib/*/ld-linux*.so.*")
    )
    if not found:
        raise OutpostError("no-loader", f"{prefix} has no dynamic loader")
    relative = found[0].relative_to(prefix)
    return relative, relative.parent
