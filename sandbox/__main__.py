"""Entry point of ``python3 -m sandbox``."""

from sandbox.cli import main

raise SystemExit(main())
