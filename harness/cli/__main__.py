"""``python -m harness.cli``: the ``halfway`` command for an interpreter that has no script directory on its path."""

from harness.cli.main import main

if __name__ == "__main__":
    main()
