"""``python -m services.cli`` is ``turnlog``."""

from services.cli.main import main

main(prog_name="turnlog")
