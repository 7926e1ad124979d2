"""A folder with a ``__main__.py`` is a process; one without is a library."""
