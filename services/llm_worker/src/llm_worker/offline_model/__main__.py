"""`python -m llm_worker.offline_model`: run the stand-in."""

import argparse
import asyncio
import os
import sys

from llm_worker.offline_model.server import serve
from shared.contracts.errors import UnavailableError

_MAX_PORT = 65_535


def main() -> int:
    """Serve until stopped; return the exit code: 0 stopped, 69 the address cannot be listened on."""
    arguments = _parse_arguments()
    try:
        asyncio.run(serve(arguments.host, arguments.port, on_listening=_announce))
    except UnavailableError as err:
        _tell(f"offline model server: {err}")
        return os.EX_UNAVAILABLE
    return os.EX_OK


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m llm_worker.offline_model",
        description="An OpenAI-compatible server that answers with what it measures; not a real model.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="port; 0, the default, takes a free one")
    return parser.parse_args()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise argparse.ArgumentTypeError(f"a port is between 0 and {_MAX_PORT}, not {port}")
    return port


def _announce(base_url: str) -> None:
    _tell(f"offline model server (stand-in): {base_url}")


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
