"""Runtimes of this machine at some precision, and a command of one's own, each one small file.

`device`  what a device is
"""
