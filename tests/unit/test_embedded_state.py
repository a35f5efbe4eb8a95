"""One process at a time owns a stack's folder, and what it says of the stack is private, whole and current."""

import os
import threading
from pathlib import Path

import pytest

from shared.contracts.errors import UnavailableError, unavailable
from shared.embedded import stack as stack_module
from shared.embedded.processes import RunningProcess
from shared.embedded.secrets_file import read_or_create, write_private
from shared.embedded.stack import EmbeddedStack
from shared.embedded.state import StackFile, StackLock, StackUrls

URLS = StackUrls(amqp_url="amqp://u:p@127.0.0.1:1/", database_url=None, assets_url="file:///assets")
ENDED = RunningProcess(name="ended", pid=1, created=0)


class FlakyServer:
    """A server that finds its port taken at its first starts."""

    def __init__(self, folder: Path, lost: int, cause: str = "Address already in use") -> None:
        self.folder, self.lost, self.cause = folder, lost, cause
        self.stops = 0
        self.more_urls: dict[str, str] = {}

    def start(self, file: StackFile, cancelled: threading.Event) -> str:
        if self.lost:
            self.lost -= 1
            (self.folder / "flaky.log").write_text(f"{self.cause}\n")
            raise unavailable("flaky_start_failed", self.cause)
        return "flaky://address"

    def stop(self) -> None:
        self.stops += 1


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path):
    with (
        StackLock(tmp_path),
        pytest.raises(UnavailableError, match=f"stack_already_running.*process {os.getpid()}"),
        StackLock(tmp_path),
    ):
        pytest.fail("the folder has two owners")
    with StackLock(tmp_path):
        pass


def test_addresses_are_there_only_once_the_stack_runs(tmp_path: Path):
    file = StackFile(tmp_path)
    file.add_process(ENDED)
    assert EmbeddedStack.running(tmp_path) is None
    file.publish(URLS)
    assert EmbeddedStack.running(tmp_path) == URLS
    file.remove()
    assert EmbeddedStack.running(tmp_path) is None


def test_the_addresses_of_an_owner_that_has_ended_are_not_given_out(tmp_path: Path):
    file = StackFile(tmp_path)
    file.publish(URLS)
    record = file.read()
    assert record is not None
    write_private(tmp_path / "stack.json", record.model_copy(update={"owner": ENDED}).model_dump_json())
    assert EmbeddedStack.running(tmp_path) is None


def test_a_server_that_a_broken_off_stop_left_stays_on_record(tmp_path: Path):
    file = StackFile(tmp_path)
    left = RunningProcess.this()
    file.add_process(ENDED)
    file.add_process(left)
    file.publish(URLS)
    file.remove()
    record = file.read()
    assert record is not None
    assert record.processes == (left,)
    assert record.urls() is None


@pytest.mark.parametrize("content", ["", "{", '{"owner": 1}'])
def test_a_file_that_cannot_be_understood_is_no_running_stack(tmp_path: Path, content: str):
    (tmp_path / "stack.json").write_text(content)
    assert EmbeddedStack.running(tmp_path) is None


def test_a_password_is_made_once_and_kept_for_its_owner_only(tmp_path: Path):
    password = read_or_create(tmp_path / "password")
    assert password.isalnum()
    assert len(password) == 48
    assert read_or_create(tmp_path / "password") == password
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("lost", "cause"), [(2, "Address already in use"), (1, "no space left")])
def test_a_start_that_fails_for_good_is_not_tried_again(
    tmp_path: Path, lost: int, cause: str, monkeypatch: pytest.MonkeyPatch
):
    server = FlakyServer(tmp_path, lost, cause)
    monkeypatch.setattr(stack_module, "rabbitmq_in", lambda folder: server)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(UnavailableError, match="flaky_start_failed"):
        EmbeddedStack(tmp_path / "home", postgres=False).start()
    assert server.lost == 0
    assert not (tmp_path / "home" / "stack.json").exists()


def test_a_port_lost_to_another_process_is_replaced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    server = FlakyServer(tmp_path, lost=1)
    monkeypatch.setattr(stack_module, "rabbitmq_in", lambda folder: server)  # pyright: ignore[reportUnknownLambdaType]
    with EmbeddedStack(tmp_path / "home", postgres=False) as urls:
        assert urls.amqp_url == "flaky://address"
        assert urls.database_url is None
    assert server.stops == 2
