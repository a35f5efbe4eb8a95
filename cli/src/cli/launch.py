"""`python -m cli.launch MODULE`: import a service, and run it as soon as its settings arrive.

Importing is most of a service's start. The supervisor has it done while RabbitMQ boots, and then sends the settings:
a JSON object of environment variables in one line on stdin. Where stdin ends without it, nothing is run, so that a
supervisor that dies leaves no process waiting.
"""

import json
import os
import sys
from importlib import import_module


def main() -> None:
    """Import the module that the command line names, wait for its settings, call its `main`."""
    module = import_module(sys.argv[1])
    line = sys.stdin.readline()
    if line:
        os.environ.update(json.loads(line))
        module.main()


if __name__ == "__main__":
    main()
