"""The worker of docs/adding-a-node-type.md: built from the page, installed, and run in a workflow by a local Weft."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageFilter, ImageStat
from tests.e2e.dev import WEFT, Dev
from tests.e2e.system import EXAMPLES, PATIENCE, finish

from shared.embedded.processes import clean_environment

DOCUMENT = Path(__file__).parents[2] / "docs" / "adding-a-node-type.md"
BLOCK = re.compile(r"^```(?:toml|python|json)\n(?:#|//) (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
UV = Path(sys.executable).with_name("uv")
MAX_LINES = 60  # of Python


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The files of the page, in a folder."""
    folder = tmp_path_factory.mktemp("blur-image")
    for name, content in BLOCK.findall(DOCUMENT.read_text()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def environment(package, tmp_path_factory):
    """The variables with which Python finds the package, as if it were installed beside the services."""
    site = tmp_path_factory.mktemp("site")
    install = [UV, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--offline"]
    subprocess.run([*install, "--python", sys.executable, "--target", site, package], check=True)
    return {**clean_environment("WEFT_"), "PYTHONPATH": str(site)}


@pytest.fixture
def dev(environment, servers_home):
    """A `weft dev` with a broker and a database of its own: other services do not know the type."""
    dev = Dev(servers_home / "node-type", environment)
    yield dev
    dev.close()


@pytest.fixture
def worker(dev):
    """The worker, as a process."""
    dev.wait_for("all services are ready")
    with subprocess.Popen(
        [sys.executable, "-m", "blur_image.worker"], env=dev.env, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_the_worker_of_the_page_is_short(package):
    lines = [line for file in package.rglob("*.py") for line in file.read_text().splitlines() if line]
    assert 0 < len(lines) < MAX_LINES


@pytest.mark.usefixtures("worker")
def test_the_worker_of_the_page_is_found_and_executes_its_nodes(dev, package):
    photo = EXAMPLES / "photo.jpg"
    arguments = ["run", "execute", package / "workflow.json", "--image", f"photo={photo}", "-o", "json"]
    pipe = subprocess.PIPE
    code, out, err = finish(subprocess.Popen([WEFT, *arguments], stdout=pipe, stderr=pipe, text=True, env=dev.env))
    assert code == 0, err
    picture = json.loads(out)["result"]["fields"]["picture"]["asset"]
    blurred, original = Image.open(dev.home / "assets" / picture["key"]), Image.open(photo)
    assert blurred.size == original.size
    assert _sharpness(blurred) < _sharpness(original) / 2


def _sharpness(image):
    """Return how strong the edges in a picture are."""
    return ImageStat.Stat(image.convert("L").filter(ImageFilter.FIND_EDGES)).mean[0]
