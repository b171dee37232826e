"""``python -m itae`` is ``itae``."""

from itae.app.cli import main

main()
