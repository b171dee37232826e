"""``python -m itae`` is ``itae``."""

from itae.cli import main

main()
