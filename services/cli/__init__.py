"""The command line: `turnlog`."""
