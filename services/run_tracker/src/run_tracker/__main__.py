"""python -m run_tracker."""

from run_tracker.main import main

main()
