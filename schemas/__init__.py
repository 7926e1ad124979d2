"""Shapes and names: whatever is stored or crosses a process.

Only msgspec and the standard library may be imported here. A stored shape changes by an upcaster
and a new golden file, never by editing an old one.
"""
